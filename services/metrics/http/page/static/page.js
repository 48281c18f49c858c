// Keeps the ranking live. The page is complete without it: what it shows is rendered by the server, here as there.
const live = document.getElementById("live");
const state = document.getElementById("state");

// A login link's page sends its one button by itself.
document.querySelector("form[data-send]")?.requestSubmit();

// Makes `old` say what `fresh` says, touching only what differs: nothing flickers, focus and selection stay.
function morph(old, fresh) {
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  const keyed = new Map([...old.children].filter((c) => c.dataset.key).map((c) => [c.dataset.key, c]));
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    let mine = wanted.dataset?.key ? keyed.get(wanted.dataset.key) : at;
    if (!mine || mine.nodeName !== wanted.nodeName) {
      old.insertBefore(wanted, at);
      continue;
    }
    if (mine !== at) old.insertBefore(mine, at);
    else at = at.nextSibling;
    if (wanted.nodeType === Node.ELEMENT_NODE) morph(mine, wanted);
    else if (mine.nodeValue !== wanted.nodeValue) mine.nodeValue = wanted.nodeValue;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const APART_MS = 400, SETTLED_MS = 1200, RETRY_MS = 5000;
// The stream tells of totals; a correction that only moves a case to another day changes none.
const ANYHOW_MS = 30000;
let asking = false, again = false, leaving = false;

async function refresh() {
  if (leaving) return;
  if (asking) { again = true; return; }
  asking = true;
  try {
    const answer = await fetch(live.dataset.live, { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(`<div>${await answer.text()}</div>`, "text/html").body.firstChild;
    if (leaving) return; // a reload would come before the page that says so
    if (!fresh.querySelector("#total")) { location.reload(); return; } // the session is over: the login page came
    const place = document.createElement("div");
    for (const { name, value } of live.attributes) place.setAttribute(name, value);
    place.append(...fresh.childNodes);
    const focused = document.activeElement;
    morph(live, place);
    // A row that moved up or down keeps its focus.
    if (document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
    say("实时更新中");
  } catch {
    say("连接中断,正在重试;下面是中断前的数字");
  }
  setTimeout(() => {
    asking = false;
    if (again) { again = false; refresh(); }
  }, APART_MS);
}

function say(words) {
  if (state.textContent !== words) state.textContent = words;
}

let settled;

function moved() {
  refresh();
  clearTimeout(settled);
  settled = setTimeout(refresh, SETTLED_MS);
}

function follow() {
  const stream = new EventSource(live.dataset.stream);
  for (const name of ["open", "county-metric", "reset"]) stream.addEventListener(name, moved);
  stream.addEventListener("error", () => {
    // One that was refused, as while Kafka is away, does not come again by itself; the figures can be asked for all the same.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
    refresh();
  });
}

if (live) {
  document.querySelector('form[action="/logout"]')?.addEventListener("submit", () => { leaving = true; });
  addEventListener("pageshow", () => { leaving = false; });
  follow();
  setInterval(() => { if (!document.hidden) refresh(); }, ANYHOW_MS);
}
