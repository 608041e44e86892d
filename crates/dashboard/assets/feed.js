// Follows what the server tells: a stream while it works, polling while it does not, nothing while the tab is hidden.

/** The server beats every 5 s. A stream silent for longer than this is dead, whatever the connection says. */
const SILENCE_MS = 12_000;
const POLL_MS = 3_000;
const POLL_DEADLINE_MS = 5_000;
const BACKOFF_MS = { first: 500, last: 10_000 };

const hidden = () => document.visibilityState === 'hidden';

/** Fetches JSON, always from the server, or throws. */
export async function ask(url) {
  const signal = AbortSignal.timeout(POLL_DEADLINE_MS);
  const answer = await fetch(url, { cache: 'no-store', headers: { accept: 'application/json' }, signal });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}

/** Runs `start` while the tab can be seen; what it returns stops it. */
export function whileVisible(start) {
  let stop = null;
  const update = () => {
    if (hidden()) {
      stop?.();
      stop = null;
    } else {
      stop ??= start();
    }
  };
  document.addEventListener('visibilitychange', update);
  // A page that waits in the back/forward cache must not hold a connection.
  window.addEventListener('pagehide', () => {
    stop?.();
    stop = null;
  });
  window.addEventListener('pageshow', update);
  update();
}

/** Asks again and again, one question at a time. */
function repeat(url, onAnswer, onFailure, every = POLL_MS) {
  let stopped = false;
  let timer;
  const turn = async () => {
    try {
      const answer = await ask(url);
      if (!stopped) onAnswer(answer);
    } catch {
      if (!stopped) onFailure();
    }
    if (!stopped) timer = setTimeout(turn, every);
  };
  turn();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** Polls `url` while the tab can be seen, every 3 s unless another time is given. */
export function poll(url, onAnswer, every) {
  whileVisible(() => repeat(url, onAnswer, () => {}, every));
}

/**
 * Follows a stream: `onStats` gets each new state, `onAge` each heartbeat, `onLost` is called when neither the stream
 * nor polling gets an answer.
 */
export function follow({ stream, stats, onStats, onAge, onLost }) {
  whileVisible(() => {
    let source;
    let silence;
    let retry;
    let failures = 0;
    let stopPolling = null;

    const heard = () => {
      failures = 0;
      stopPolling?.();
      stopPolling = null;
      expect();
    };
    const expect = () => {
      clearTimeout(silence);
      silence = setTimeout(failed, SILENCE_MS);
    };
    const open = () => {
      source = new EventSource(stream);
      source.onmessage = (event) => {
        heard();
        onStats(JSON.parse(event.data));
      };
      source.addEventListener('heartbeat', (event) => {
        heard();
        onAge(JSON.parse(event.data));
      });
      // The browser would reconnect by itself, for ever at one pace: close it and keep our own.
      source.onerror = failed;
      expect();
    };
    const close = () => {
      source?.close();
      clearTimeout(silence);
    };
    const failed = () => {
      close();
      stopPolling ??= repeat(stats, onStats, onLost);
      const pause = Math.min(BACKOFF_MS.first * 2 ** failures, BACKOFF_MS.last);
      failures += 1;
      clearTimeout(retry);
      retry = setTimeout(open, pause * (0.5 + Math.random() / 2));
    };

    open();
    return () => {
      close();
      clearTimeout(retry);
      stopPolling?.();
    };
  });
}
