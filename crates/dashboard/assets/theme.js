// Before the first paint: the colours that the reader chose here, and word to the style that scripts run.
'use strict';
document.documentElement.classList.add('js');
try {
  const chosen = localStorage.getItem('theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's setting holds.
}
