// CodeMirror on top of the text area of definitions. The text area stays the field of the form: it has the text at all
// times, and a text that a script or an extension writes into it appears in the editor.
'use strict';

for (const area of document.querySelectorAll('textarea[data-editor]')) {
  const {
    bracketMatching, defaultKeymap, drawSelection, EditorState, EditorView, highlightActiveLine, highlightSelectionMatches,
    highlightSpecialChars, HighlightStyle, history, historyKeymap, indentOnInput, indentUnit, indentWithTab, keymap,
    lineNumbers, lintGutter, search, searchKeymap, setDiagnostics, syntaxHighlighting, tags, yaml,
  } = CodeMirror;
  const settings = JSON.parse(area.dataset.editor);

  const colors = HighlightStyle.define([
    { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--accent)' },
    { tag: [tags.string, tags.special(tags.string), tags.attributeValue], color: 'var(--good)' },
    { tag: [tags.comment, tags.lineComment], color: 'var(--muted)' },
    { tag: [tags.invalid], color: 'var(--bad)' },
    { tag: [tags.keyword, tags.typeName, tags.labelName], color: 'var(--warn)' },
  ]);
  const theme = EditorView.theme({
    '&': { border: '1px solid var(--muted)', borderRadius: '.25rem', background: 'var(--ground)', color: 'var(--text)' },
    '&.cm-focused': { outline: '3px solid var(--accent)', outlineOffset: '2px' },
    '.cm-scroller': { minHeight: '12rem', maxHeight: '36rem', font: '.875rem/1.45 var(--mono)' },
    '.cm-content': { caretColor: 'var(--text)' },
    '.cm-cursor': { borderInlineStartColor: 'var(--text)' },
    '.cm-gutters': { background: 'var(--raised)', color: 'var(--muted)', borderInlineEnd: '1px solid var(--line)' },
    '.cm-activeLine': { background: 'transparent' },
    '&.cm-focused .cm-activeLine': { background: 'color-mix(in srgb, var(--raised) 60%, transparent)' },
    '.cm-activeLineGutter': { background: 'var(--line)', color: 'var(--text)' },
    '& .cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
      background: 'color-mix(in srgb, var(--accent) 30%, transparent)',
    },
    // The markers of CodeMirror are `data:` images, which the policy forbids.
    '.cm-lintRange-error': { background: 'none', textDecoration: 'underline wavy var(--bad)' },
    '.cm-lint-marker-error': { content: 'normal', borderRadius: '50%', background: 'var(--bad)' },
    '.cm-specialChar': { color: 'var(--warn)' },
    '.cm-panels': { background: 'var(--raised)', color: 'var(--text)' },
    '.cm-panel input, .cm-panel button': { font: 'inherit', minHeight: '24px' },
    '.cm-tooltip': { background: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--line)' },
  });

  // In a shadow root CodeMirror's styles are constructed style sheets, which the page's policy allows.
  const host = document.createElement('div');
  host.className = 'code';
  area.parentElement.after(host);
  const root = host.attachShadow({ mode: 'open' });
  const view = new EditorView({
    parent: root,
    root,
    state: EditorState.create({
      doc: area.value,
      extensions: [
        lineNumbers(), lintGutter(), highlightSpecialChars(), history(), drawSelection(), indentOnInput(), bracketMatching(),
        highlightActiveLine(), highlightSelectionMatches(), search({ top: true }), yaml(), indentUnit.of('  '),
        syntaxHighlighting(colors), theme,
        // After Escape, Tab leaves the editor.
        keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, indentWithTab]),
        EditorState.phrases.of(settings.phrases),
        EditorView.contentAttributes.of({ 'aria-label': settings.label, tabindex: '0', spellcheck: 'false', autocapitalize: 'off' }),
        EditorView.domEventHandlers({
          // Chromium gives a text that replaces another one its colors as an inline style, which the policy forbids.
          beforeinput(event, own) {
            if (event.inputType !== 'insertText' || own.composing || own.state.selection.main.empty) return;
            event.preventDefault();
            own.dispatch({ ...own.state.replaceSelection(event.data ?? ''), userEvent: 'input.type', scrollIntoView: true });
          },
        }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          area.value = view.state.doc.toString();
          area.dispatchEvent(new Event('input', { bubbles: true }));
        }),
      ],
    }),
  });
  area.classList.add('mirrored');
  area.tabIndex = -1;
  area.setAttribute('aria-hidden', 'true');
  area.addEventListener('input', () => {
    const { doc } = view.state;
    if (doc.toString() !== area.value) view.dispatch({ changes: { from: 0, to: doc.length, insert: area.value } });
  });
  area.parentElement.addEventListener('click', (event) => {
    event.preventDefault();
    view.focus();
  });

  // The range of a line, or the last one.
  const lineAt = (number) => view.state.doc.line(Math.min(Math.max(number, 1), view.state.doc.lines));
  view.dispatch(setDiagnostics(view.state, settings.faults.map(({ line, detail }) => {
    const { from, to } = lineAt(line);
    return { from, to, severity: 'error', message: detail };
  })));

  // A link to a line selects it.
  const go = () => {
    const match = location.hash.match(/^#line-(\d+)$/);
    if (!match) return;
    const { from, to } = lineAt(Number(match[1]));
    view.dispatch({ selection: { anchor: from, head: to }, effects: EditorView.scrollIntoView(from, { y: 'center' }) });
    view.focus();
  };
  window.addEventListener('hashchange', go);
  const [first] = settings.faults;
  if (first) window.history.replaceState(null, '', `#line-${first.line}`);
  go();
}
