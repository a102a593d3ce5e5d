/** What the console remembers of its own layout, per browser. */

/** @param {string} name @param {boolean} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`fanfare.console.${name}`, value ? '1' : '0');
  } catch {
    // Without storage the page opens with its defaults.
  }
}

/** @param {string} name @param {boolean} fallback */
export function remembered(name, fallback) {
  try {
    const value = localStorage.getItem(`fanfare.console.${name}`);
    return value === null ? fallback : value === '1';
  } catch {
    return fallback;
  }
}
