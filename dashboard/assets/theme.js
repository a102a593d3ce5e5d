// Runs in <head>, before anything is painted: the theme chosen last time, and the word to CSS that scripts run.
(() => {
  const root = document.documentElement;
  root.classList.add('js');
  try {
    const theme = localStorage.getItem('fanfare-theme');
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  } catch { /* storage is off: the system's theme it is */ }
})();
