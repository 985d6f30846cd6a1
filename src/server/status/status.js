// Shows what the numbers are now, once a second while somebody looks. The page works without it.
"use strict";

const live = document.getElementById("live");

// What is scrolled sideways stays where it is, and what has the focus keeps it.
function replaceMain(page) {
  const old = document.querySelector("main");
  const next = page.querySelector("main");
  const scrolled = Array.from(old.querySelectorAll(".scroll"), (part) => part.scrollLeft);
  const focused = document.activeElement && document.activeElement.id;
  old.replaceWith(next);
  next.querySelectorAll(".scroll").forEach((part, index) => { part.scrollLeft = scrolled[index] || 0; });
  if (focused) {
    const again = document.getElementById(focused);
    if (again) { again.focus({ preventScroll: true }); }
  }
}

async function renew() {
  if (document.hidden) { return; }
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
    if (!answer.ok) { throw new Error(String(answer.status)); }
    replaceMain(new DOMParser().parseFromString(await answer.text(), "text/html"));
    live.textContent = "live";
  } catch (error) {
    live.textContent = "no answer from the server";
  }
}

setInterval(renew, 1000);
