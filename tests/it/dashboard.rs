//! The status page in a browser.

use serde_json::{Value, json};

use super::browser::Browser;
use super::harness::{Client, Server, Site};

/// A server with enough requests for a curve: more files than the file cache can hold.
fn loaded(site: &Site) -> Server {
    for index in 0..1_500 {
        site.file(&format!("{index}"), vec![b'x'; 4_000]);
    }
    let words = ["--map-cache", "3MiB", "--path-cache", "1024"];
    let server = Server::start(site, &words);
    let mut client = server.connect();
    for round in 0..8 {
        ask_all(&mut client, 1_500 / (round + 1));
    }
    server
}

fn ask_all(client: &mut Client, count: usize) {
    for index in 0..count {
        assert_eq!(client.get(&format!("/{index}"), &[]).body.len(), 4_000);
    }
}

/// The lowest contrast of any text with its background. WCAG 2.2, 1.4.3.
const LEAST_CONTRAST: &str = r#"
const parse = (text) => { const n = text.match(/[\d.]+/g).map(Number); return { rgb: n.slice(0, 3), a: n.length > 3 ? n[3] : 1 }; };
const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (node) => { for (let at = node; at; at = at.parentElement) { const c = parse(getComputedStyle(at).backgroundColor); if (c.a > 0) { return c.rgb; } } return [255, 255, 255]; };
let least = [99, ""];
for (const node of document.querySelectorAll("body *")) {
  const own = Array.from(node.childNodes).some((c) => c.nodeType === 3 && c.textContent.trim());
  if (!own || ["script", "title", "desc"].includes(node.tagName.toLowerCase())) { continue; }
  const style = getComputedStyle(node);
  const ink = parse(node.namespaceURI.endsWith("svg") ? style.fill : style.color).rgb;
  const [a, b] = [light(ink), light(behind(node))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < least[0]) { least = [contrast, node.outerHTML.slice(0, 80)]; }
}
return least;
"#;

/// Selection and focus survive updates, and a paused page does not change.
fn stays_as_its_reader_left_it(browser: &Browser, server: &Server, requests: &str) {
    browser.run(
        "getSelection().selectAllChildren(document.getElementById('caches'));\
         document.getElementById('caches-table').focus();",
    );
    let shown = browser.run(requests).as_u64().unwrap();
    ask_all(&mut server.connect(), 10);
    let moved = |than: u64| requests.replace("return Number(", &format!("return {than} < Number("));
    browser.wait_until("the numbers move", &moved(shown));
    let left = browser.run("return [getSelection().toString(), document.activeElement.id];");
    assert_eq!(left, json!(["Caches", "caches-table"]));
    browser.run("document.getElementById('pause').click();");
    let shown = browser.run(requests).as_u64().unwrap();
    ask_all(&mut server.connect(), 10);
    let still = format!("return renew().then(() => {{ {requests} }});");
    assert_eq!(browser.run(&still), shown, "paused");
    let live = browser.run("return document.getElementById('live').textContent;");
    assert!(live.as_str().unwrap().starts_with("as of "), "{live}");
    browser.run("document.getElementById('pause').click();");
    browser.wait_until("it goes on", &moved(shown));
}

/// Curves, bars, and words that say the same as the curves.
fn has_its_plots(browser: &Browser) {
    let lines = browser.run(
        "return [...document.querySelectorAll('svg polyline')].map((l) => l.getTotalLength());",
    );
    let lines: Vec<f64> = lines
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    assert_eq!(lines.len(), 4, "two plots of two lines");
    let tallest = browser.run(
        "return ['turn-times', 'job-times'].map((id) => Math.max(...[...document.getElementById(id).parentElement.querySelectorAll('rect')].map((r) => r.getBBox().height)));",
    );
    let tallest = tallest.as_array().unwrap();
    assert!(
        tallest.iter().all(|height| height.as_f64() > Some(50.0)),
        "{tallest:?}"
    );
    assert!(lines.iter().all(|length| *length > 300.0), "{lines:?}");
    let words =
        browser.run("return document.querySelector('[aria-labelledby=sizes]').textContent;");
    assert!(words.as_str().unwrap().contains(" would give "), "{words}");
}

/// In both colour schemes, and on a phone.
fn can_be_read(browser: &Browser) {
    for scheme in ["light", "dark"] {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.command("Emulation.setEmulatedMedia", &media);
        let least = browser.run(LEAST_CONTRAST);
        assert!(least[0].as_f64().unwrap() >= 4.5, "{scheme}: {least}");
    }
    let phone = json!({"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": true});
    browser.command("Emulation.setDeviceMetricsOverride", &phone);
    let overflow = browser.run("return document.documentElement.scrollWidth - window.innerWidth;");
    assert!(
        overflow.as_i64().unwrap() <= 0,
        "{overflow} too wide for a phone"
    );
    let scrolled = browser.run(
        "return [...document.querySelectorAll('.scroll')].map((part) => part.scrollWidth - part.clientWidth);",
    );
    assert!(
        scrolled.as_array().unwrap().iter().all(|more| more == 0),
        "{scrolled}"
    );
}

#[test]
fn the_page_lives_shows_its_plots_and_can_be_read_by_everybody() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let site = Site::new();
    let server = loaded(&site);
    browser.go(&format!("http://{}/status", server.address()));
    let requests = "const all = [...document.querySelectorAll('dt')].find((t) => t.textContent === 'answered');\
                    return Number(all.nextElementSibling.textContent.replace(/\\D/g, ''));";
    let before = browser.run(requests).as_u64().unwrap();
    ask_all(&mut server.connect(), 300);
    let moved = requests.replace(
        "return Number(",
        &format!("return {} <= Number(", before + 300),
    );
    browser.wait_until("the numbers move without a reload", &moved);
    browser.wait_until(
        "it says that it is live",
        "return document.getElementById('live').textContent === 'live';",
    );
    has_its_plots(&browser);
    stays_as_its_reader_left_it(&browser, &server, requests);
    can_be_read(&browser);
    let said = browser.console();
    assert!(said.is_empty(), "{said:?}");
    drop(server);
    browser.wait_until(
        "it says that nobody answers",
        "return document.getElementById('live').textContent === 'no answer from the server';",
    );
}
