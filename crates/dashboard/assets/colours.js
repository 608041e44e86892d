// The switch between the system's colours, light and dark ones. What is chosen is kept in this browser alone.

const CHOICES = ['system', 'light', 'dark'];
const WORDS = { system: 'Colours: as the system has them', light: 'Colours: light', dark: 'Colours: dark' };

const root = document.documentElement;
const button = document.getElementById('theme');
const present = () => root.dataset.theme ?? 'system';

function show() {
  const words = WORDS[present()];
  button.title = words;
  document.getElementById('theme-text').textContent = words;
}

function choose(choice) {
  if (choice === 'system') delete root.dataset.theme;
  else root.dataset.theme = choice;
  try {
    if (choice === 'system') localStorage.removeItem('theme');
    else localStorage.setItem('theme', choice);
  } catch {
    // Without storage the choice holds for this page.
  }
  show();
}

/** Makes the button work; `onChange` is called whenever other colours hold. */
export function switchColours(onChange) {
  show();
  button.addEventListener('click', () => {
    choose(CHOICES[(CHOICES.indexOf(present()) + 1) % CHOICES.length]);
    onChange();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', onChange);
}
