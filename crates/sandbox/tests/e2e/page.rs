//! The live pages in a real browser: what they show, to whom, and what they say when the process is gone.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sandbox::harness::{Program, Scene, until};
use sandbox::kafka::Producer;
use serde_json::{Value, json};

use crate::SOON;
use crate::browser::{self, Browser};
use crate::operations::{EVENT, PAYMENT};

/// A group whose name is markup to whoever takes it for that.
const HOSTILE: &str = "<img src=x onerror=\"document.title='harmed'\">";

/// The widths and colours that the pages are made for.
pub(crate) const LOOKS: [(u32, &str); 4] = [
    (400, "light"),
    (400, "dark"),
    (1600, "light"),
    (1600, "dark"),
];

/// Texts, and the least contrast that they need: more than 4.5 to 1.
const CONTRASTS: &str = r#"(() => {
    const luminance = (colour) => {
        const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
            const share = part / 255;
            return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const faint = [];
    for (const node of document.querySelectorAll("h1, h2, p, b, span, td, th, a, summary, figcaption, label")) {
        if (!node.innerText || node.closest("[aria-hidden=true]")) continue;
        const [one, other] = [luminance(getComputedStyle(node).color), luminance(ground(node))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) faint.push(`${node.innerText}: ${contrast.toFixed(2)}`);
    }
    return faint;
})()"#;

/// Elements beyond the right edge, where the page can be scrolled there.
const STICKING_OUT: &str = r#"(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const out = [...document.querySelectorAll("body *")]
        .filter((node) => node.getBoundingClientRect().right > clientWidth && !node.closest(".scroll > *"));
    return out.map((node) => `${node.tagName} ${node.id} ${node.className}: ${node.textContent.slice(0, 80)}`);
})()"#;

pub(crate) fn address(program: &Program) -> String {
    format!("http://127.0.0.1:{}/", program.admin_port())
}

/// Waits until the page says that the process is ready, and does not say that it is gone.
pub(crate) fn wait_ready(browser: &Browser) -> Result<()> {
    until("a ready process on the page", SOON, || {
        let gone = browser.value("document.querySelector('#gone').hidden")? != true;
        Ok((!gone && browser.text("#state")? == "ready").then_some(()))
    })
}

/// The metrics of `/metrics` that the page lists, by the name that the page gives them.
fn metrics(program: &Program) -> Result<BTreeMap<String, f64>> {
    let (_, text) = program.page("/metrics")?;
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let single: Vec<&str> = kinds
        .filter(|line| !line.ends_with(" histogram"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let mut metrics = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let bare = name.split('{').next().unwrap_or_default();
        if single.contains(&bare) {
            metrics.insert(name.replace("\",", "\", "), value.parse()?);
        }
    }
    Ok(metrics)
}

/// The same as the page shows it.
fn figures(browser: &Browser) -> Result<BTreeMap<String, f64>> {
    let rows = browser.value(
        "[...document.querySelectorAll('#figures tbody tr')].map((row) => \
         [row.cells[0].textContent, row.cells[1].textContent])",
    )?;
    let rows = rows.as_array().context("no rows")?.iter();
    rows.map(|row| {
        let name = row[0].as_str().context("no name")?.to_owned();
        Ok((name, row[1].as_str().context("no value")?.parse()?))
    })
    .collect()
}

/// Sends a few records to each program.
fn send(scene: &Scene, producer: &Producer, number: usize) -> Result<()> {
    let names = &scene.names;
    let payment = PAYMENT.replace("t_1", &format!("t_{number}"));
    for (topic, value) in [
        (&names.user_events, EVENT),
        (&names.transactions, &payment),
        (&names.labeled_events, &payment),
    ] {
        producer.send(topic, Some(b"u_1"), Some(value.as_bytes()), None)?;
    }
    Ok(())
}

#[test]
fn each_page_shows_the_truth_to_everybody() -> Result<()> {
    if !browser::is_there() {
        return Ok(());
    }
    let scene = Scene::new("page", 2)?;
    let producer = Producer::open(&scene.brokers)?;
    for topic in [
        &scene.names.user_events,
        &scene.names.transactions,
        &scene.names.labeled_events,
    ] {
        producer.send(topic, Some(b"u_1"), Some(b"no JSON"), None)?;
    }
    let group = ["--group", HOSTILE];
    let mut programs = [
        scene.featurizer("featurizer", &group)?,
        scene.scorer("scorer", &group)?,
        scene.collector("collector", &[group, ["--max-age", "1s"]].concat())?,
    ];
    let browser = Browser::start(scene.folder())?;
    for program in &mut programs {
        program.wait_ready()?;
        browser.open(&address(program))?;
        wait_ready(&browser)?;
        follows_live_traffic(&browser, program, &scene, &producer)?;
        shows_all_figures(&browser, program)?;
        let identity = browser.text("#identity")?;
        assert!(identity.contains(HOSTILE), "{identity}");
        let images =
            browser.value("document.querySelectorAll('img:not([src=\"icon.svg\"])').length")?;
        assert_eq!(images, 0, "the group's name became markup");
        assert!(!browser.text("title")?.contains("harmed"));
        obeys_the_keyboard(&browser)?;
        fits_every_look(&browser)?;
        assert_eq!(browser.complaints()?, [""; 0]);
        let own = address(program);
        let strange = browser
            .requests()?
            .into_iter()
            .filter(|url| !url.starts_with(&own));
        assert_eq!(strange.collect::<Vec<_>>(), [""; 0]);
        says_that_it_is_gone(&browser, program)?;
        // Requests that nobody answers are in console and log from now on.
        browser.open("about:blank")?;
        browser.complaints()?;
        browser.requests()?;
    }
    Ok(())
}

/// While records come, the page counts them, never more nor fewer than `/metrics` says before and after.
fn follows_live_traffic(
    browser: &Browser,
    program: &Program,
    scene: &Scene,
    producer: &Producer,
) -> Result<()> {
    let read = || -> Result<f64> { Ok(metrics(program)?["tidemill_records_total"]) };
    let begun: f64 = read()?;
    let mut number = 0;
    until("the page to count along", SOON, || {
        number += 1;
        send(scene, producer, number)?;
        let shown = browser.text("#tiles b")?.replace(',', "");
        let after: f64 = read()?;
        let shown: f64 = shown.parse().context("no number of records")?;
        assert!(shown <= after, "the page says {shown}, metrics {after}");
        Ok((shown > begun + 5.0).then_some(()))
    })
}

/// Once no records come any more, every figure of the page equals that of `/metrics`.
fn shows_all_figures(browser: &Browser, program: &Program) -> Result<()> {
    let (mut shown, mut expected) = (BTreeMap::new(), BTreeMap::new());
    let equal = until("the page to equal the metrics", SOON, || {
        expected = metrics(program)?;
        shown = figures(browser)?;
        Ok((shown == expected).then_some(()))
    });
    equal.with_context(|| format!("{shown:#?} is not {expected:#?}"))?;
    assert!(shown.len() > 10, "{shown:#?}");
    let partitions = until("both partitions", SOON, || {
        let (_, text) = program.page("/status.json")?;
        let status: Value = serde_json::from_str(&text)?;
        let partitions = status["partitions"].as_array().cloned();
        Ok(partitions.filter(|partitions| partitions.len() == 2))
    })?;
    for partition in &partitions {
        let [position, end] = ["position", "end"].map(|name| partition[name].as_i64());
        assert!(position <= end && end.is_some(), "{partition}");
    }
    let settings = browser.value("document.querySelector('#settings').textContent")?;
    assert!(settings.to_string().contains("admin-addr"), "{settings}");
    Ok(())
}

/// The arrow keys move the cursor of a plot.
fn obeys_the_keyboard(browser: &Browser) -> Result<()> {
    let readout = "#plots .readout";
    browser.wait_for(readout, "now: ", SOON)?;
    browser.value("document.querySelector('#plots .plot').focus()")?;
    browser.press("PageUp")?;
    let moved = browser.text(readout)?;
    assert!(!moved.starts_with("now"), "{moved}");
    browser.press("Escape")?;
    browser.wait_for(readout, "now: ", SOON)
}

/// Nothing sticks out at either width, and texts can be read in both colours.
fn fits_every_look(browser: &Browser) -> Result<()> {
    let mut grounds = Vec::new();
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")?;
    for (width, scheme) in LOOKS {
        browser.look(width, scheme)?;
        assert_eq!(browser.value(STICKING_OUT)?, json!([]), "{width} {scheme}");
        let faint = browser.value(CONTRASTS)?;
        assert_eq!(faint, Value::Array(Vec::new()), "{width} {scheme}");
        let ground = browser.value("getComputedStyle(document.body).backgroundColor")?;
        grounds.push(ground.to_string());
    }
    assert_eq!(grounds[0], grounds[2]);
    assert_ne!(grounds[0], grounds[1]);
    Ok(())
}

/// A process that hangs and one that has ended are told apart, and figures come back with the process.
fn says_that_it_is_gone(browser: &Browser, program: &mut Program) -> Result<()> {
    program.pause()?;
    browser.wait_for("#gone", "it hangs", SOON)?;
    program.resume()?;
    wait_ready(browser)?;
    assert!(program.terminate()?.success());
    browser.wait_for("#gone", "has ended", SOON)?;
    assert_eq!(browser.text("#state")?, "no answer");
    Ok(())
}

/// Status, headers and body of a request.
fn request(port: u16, head: &str, body: &str) -> Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SOON))?;
    let length = body.len();
    write!(
        stream,
        "{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let code = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((code, head.to_lowercase(), body.to_owned()))
}

fn get(port: u16, path: &str, headers: &str) -> Result<(u16, String, String)> {
    request(port, &format!("GET {path} HTTP/1.1\r\n{headers}"), "")
}

#[test]
fn the_page_is_for_this_machine_and_for_who_has_the_token() -> Result<()> {
    let scene = Scene::new("access", 1)?;
    let local = scene.collector("local", &[])?;
    let port = local.admin_port();
    until("admin pages", SOON, || {
        Ok(local.page("/healthz").is_ok().then_some(()))
    })?;
    for path in ["/", "/status.json"] {
        for (host, code) in [
            ("localhost", 200),
            ("127.0.0.1:80", 200),
            ("evil.example", 403),
        ] {
            let (told, head, body) = get(port, path, &format!("Host: {host}"))?;
            assert_eq!(told, code, "{path} {host}: {body}");
            assert!(head.contains("default-src 'none'"), "{head}");
            assert!(code == 200 || body.contains("--admin-token-file"), "{body}");
        }
    }
    let (told, _, _) = get(port, "/metrics", "Host: evil.example")?;
    assert_eq!(told, 200);

    let token = "a-token-of-some-length";
    let file = scene.folder().join("token");
    std::fs::write(&file, token)?;
    let file = file.to_str().context("a path in UTF-8")?;
    let guarded = scene.collector("guarded", &["--admin-token-file", file])?;
    let port = guarded.admin_port();
    until("admin pages", SOON, || {
        Ok(guarded.page("/healthz").is_ok().then_some(()))
    })?;
    let bearer = |token: &str| format!("Host: any\r\nAuthorization: Bearer {token}");
    let (told, _, body) = get(port, "/status.json", "Host: localhost")?;
    assert!(told == 403 && body.contains("Bearer"), "{told} {body}");
    assert_eq!(get(port, "/status.json", &bearer(token))?.0, 200);
    let begun = Instant::now();
    for _ in 0..7 {
        assert_eq!(get(port, "/status.json", &bearer("wrong"))?.0, 403);
    }
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "guessing is free"
    );
    assert_eq!(get(port, "/status.json", &bearer(token))?.0, 200);

    if !browser::is_there() {
        return Ok(());
    }
    let browser = Browser::start(scene.folder())?;
    browser.open(&address(&guarded))?;
    browser.wait_for("label", "Token", SOON)?;
    for (width, scheme) in LOOKS {
        browser.look(width, scheme)?;
        assert_eq!(browser.value(CONTRASTS)?, Value::Array(Vec::new()));
    }
    browser.value(&format!("(() => {{ document.querySelector('#token').value = {token:?}; document.querySelector('button').click(); }})()"))?;
    browser.wait_for("#program", "collector", SOON)?;
    assert_eq!(
        browser.value("document.cookie")?,
        "",
        "scripts see the cookie"
    );
    Ok(())
}
