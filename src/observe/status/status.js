// Shows what the numbers are now, once a second while somebody looks. The page works without it.
"use strict";

const live = document.getElementById("live");
const pause = document.getElementById("pause");
let isPaused = false;

// Takes over what is new and leaves the rest alone: what is selected, focused or scrolled stays so.
function take(old, next) {
  if (old.nodeName !== next.nodeName) {
    old.replaceWith(document.importNode(next, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== next.nodeValue) { old.nodeValue = next.nodeValue; }
    return;
  }
  for (const { name } of Array.from(old.attributes)) {
    if (!next.hasAttribute(name)) { old.removeAttribute(name); }
  }
  for (const { name, value } of Array.from(next.attributes)) {
    if (old.getAttribute(name) !== value) { old.setAttribute(name, value); }
  }
  const children = Array.from(old.childNodes);
  next.childNodes.forEach((child, index) => {
    if (index < children.length) { take(children[index], child); } else { old.append(document.importNode(child, true)); }
  });
  children.slice(next.childNodes.length).forEach((child) => child.remove());
}

async function renew() {
  if (document.hidden || isPaused) { return; }
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
    if (!answer.ok) { throw new Error(String(answer.status)); }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (isPaused) { return; }
    take(document.querySelector("main"), page.querySelector("main"));
    live.textContent = "live";
  } catch (error) {
    live.textContent = "no answer from the server";
  }
}

pause.hidden = false;
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.textContent = isPaused ? "go on" : "pause";
  live.textContent = isPaused ? "as of " + new Date().toLocaleTimeString() : "live";
  renew();
});
setInterval(renew, 1000);
