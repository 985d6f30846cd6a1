// Shows the totals of this server, where its status page may be seen; says nothing where it may not.

const section = document.querySelector("#live");
const list = document.querySelector("#live-numbers");
const whole = new Intl.NumberFormat("en");

function rows(numbers) {
  const caches = Array.isArray(numbers.caches) ? numbers.caches : [];
  const ratio = ({ hits = 0, misses = 0 }) =>
    hits + misses > 0 ? `${((100 * hits) / (hits + misses)).toFixed(1)} %` : "–";
  return [
    ["requests", whole.format(numbers.requests?.total ?? 0)],
    ...caches.map((cache) => [`${cache.name} cache hits`, ratio(cache)]),
  ];
}

function show(numbers) {
  const nodes = rows(numbers).map(([name, value]) => {
    const row = document.createElement("div");
    row.append(
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    );
    return row;
  });
  list.replaceChildren(...nodes);
  section.hidden = false;
}

async function refresh() {
  if (!document.hidden) {
    const response = await fetch("/status?format=json");
    if (!response.ok) {
      return;
    }
    show(await response.json());
  }
  setTimeout(() => refresh().catch(() => {}), 2000);
}

refresh().catch(() => {});
