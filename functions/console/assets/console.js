// What pages of the console do with a script. Without it, links and forms work all the same.
'use strict';

// Buttons that copy a value.
document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const label = button.textContent;
  button.textContent = button.dataset.done;
  setTimeout(() => { button.textContent = label; }, 1500);
});

function enhance(root) {
  for (const button of root.querySelectorAll('[data-copy][hidden]')) button.hidden = !navigator.clipboard;
}
enhance(document);

// A list that is being used is not replaced: selected boxes, open details and focus would be lost.
function isInUse(element) {
  return element.contains(document.activeElement) && document.activeElement !== element
    || element.querySelector('input:checked, details[open].confirmed') !== null;
}
document.addEventListener('htmx:before:request', (event) => {
  const source = event.detail.ctx?.sourceElement;
  if (source?.id === 'runs' && isInUse(source)) event.preventDefault();
});
document.addEventListener('htmx:after:swap', () => enhance(document));

// A lost connection is shown until a request succeeds again.
const connection = document.getElementById('connection');
document.addEventListener('htmx:error', () => { if (connection) connection.hidden = false; });
document.addEventListener('htmx:after:request', (event) => {
  if (connection && event.detail.ctx?.response) connection.hidden = true;
});

// The token of an invitation is behind `#` in its link, so that no log has it.
// It is kept while the person signs in.
if (location.hash.startsWith('#aias_invite_')) {
  sessionStorage.setItem('invitation', location.hash.slice(1));
  history.replaceState(null, '', location.pathname + location.search);
}
const token = document.querySelector('[data-from-fragment]');
if (token) {
  token.value = sessionStorage.getItem('invitation') ?? '';
  token.form.addEventListener('submit', () => sessionStorage.removeItem('invitation'));
}

// The zone of the browser, as a suggestion.
const zone = document.querySelector('[data-zone]');
if (zone && zone.value === 'UTC') {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const option = document.createElement('option');
  option.value = own;
  document.getElementById('zones')?.prepend(option);
}

// The text of a long form survives an interrupted session, a crash or a closed page, as long as nobody
// has saved another version: a draft must not hide somebody else's change.
for (const area of document.querySelectorAll('form.editor textarea')) {
  const etag = area.form.querySelector('[name=etag]')?.value ?? '';
  const key = `draft:${location.pathname}:${etag}`;
  const kept = sessionStorage.getItem(key);
  if (kept !== null && document.querySelector('main .problem') === null) area.value = kept;
  area.addEventListener('input', () => sessionStorage.setItem(key, area.value));
}
if (document.querySelector('main .done')) {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith('draft:')) sessionStorage.removeItem(key);
  }
}
