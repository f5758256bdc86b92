// The text area of definitions: indentation with Tab and Enter, and the lines of faults.
'use strict';

for (const area of document.querySelectorAll('textarea[data-editor]')) {
  // As if typed, so that it can be undone.
  const insert = (text) => document.execCommand('insertText', false, text);

  area.addEventListener('keydown', (event) => {
    const { selectionStart: start, value } = area;
    if (event.key === 'Escape') {
      // After Escape, Tab leaves the text area.
      area.dataset.leave = 'true';
      return;
    }
    if (event.key === 'Tab' && !event.shiftKey && area.dataset.leave !== 'true' && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      insert('  ');
    } else if (event.key === 'Enter' && !event.isComposing) {
      event.preventDefault();
      const line = value.slice(value.lastIndexOf('\n', start - 1) + 1, start);
      const indent = line.match(/^ */)[0] + (/:\s*$/.test(line) ? '  ' : '');
      insert(`\n${indent}`);
    } else {
      delete area.dataset.leave;
      return;
    }
  });
  area.addEventListener('blur', () => { delete area.dataset.leave; });

  // A link to a line selects it.
  const go = () => {
    const match = location.hash.match(/^#line-(\d+)$/);
    if (!match) return;
    const lines = area.value.split('\n');
    const line = Math.min(Number(match[1]), lines.length);
    const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
    area.focus();
    area.setSelectionRange(start, start + lines[line - 1].length);
    area.scrollTop = (line - 4) * (area.scrollHeight / lines.length);
  };
  window.addEventListener('hashchange', go);
  const first = area.dataset.lines?.split(',')[0];
  if (first) history.replaceState(null, '', `#line-${first}`);
  go();
}
