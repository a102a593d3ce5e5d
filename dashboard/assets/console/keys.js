/** Single-key shortcuts of a page; they stay silent while somebody types. */

/**
 * @param {Record<string, (event: KeyboardEvent) => void>} shortcuts key (as in KeyboardEvent.key) → action
 */
export function shortcuts(shortcuts) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target instanceof Element ? event.target : null;
    const typing = target?.closest('input:not([type=checkbox]), textarea, select, [contenteditable]');
    if (event.key === 'Escape' && typing) {
      typing.blur();
      return;
    }
    if (typing) return;
    // Space and Enter belong to the control that has the focus.
    const control = target?.closest('button, a, summary, label, input');
    if (control && (event.key === ' ' || event.key === 'Enter')) return;
    const action = Object.hasOwn(shortcuts, event.key) ? shortcuts[event.key] : undefined;
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}
