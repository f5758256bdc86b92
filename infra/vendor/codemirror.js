// What the editor of workflows uses of CodeMirror.
export { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
export { yaml } from '@codemirror/lang-yaml';
export { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language';
export { lintGutter, setDiagnostics } from '@codemirror/lint';
export { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
export { EditorState } from '@codemirror/state';
export { drawSelection, EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view';
export { tags } from '@lezer/highlight';
