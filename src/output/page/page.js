// Shows what `events` tells. Whatever comes from there is put into the page as text, never as markup: addresses and
// subjects are written by strangers. The content security policy holds the page to that (Trusted Types).

const SVG = "http://www.w3.org/2000/svg";
const PAGE = 12; // rows a list shows before it is asked for more
const MORE = 50; // and then
const SILENCE = 6000; // ms without news: the connection is lost
const HIDDEN = 60000; // ms after which a page that nobody sees gives its seat to another
const CONFIRM = 10000; // ms after which it says that somebody looks
const SLOW = 2000; // ms for which a server is silent before that is worth a word

const $ = (id) => document.getElementById(id);
const body = (id) => $(id).tBodies[0];

// ---------------------------------------------------------------- elements

function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") made.className = value;
    else if (key === "text") made.textContent = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function drawing(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function cell(label, text, kind = "") {
  return element("td", { role: "cell", class: kind, "data-label": label, text });
}

// ---------------------------------------------------------------- words

const whole = new Intl.NumberFormat("en");
const count = (n) => whole.format(n);

function scaled(n, units, step) {
  let unit = 0;
  while (n >= step && unit < units.length - 1) {
    n /= step;
    unit += 1;
  }
  const digits = unit === 0 || n >= 100 ? 0 : n >= 10 ? 1 : 2;
  return [n.toFixed(digits), units[unit]];
}
const octets = (n) => scaled(n, ["B", "kB", "MB", "GB", "TB"], 1000).join(" ");

function millis(ms) {
  if (ms === 0) return "0 ms";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
}

function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 1) return `${Math.round(ms)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const time = (ms) => clock.format(new Date(ms));
const words = (text) => text.replaceAll("_", " ");
const host = (address) => address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
const tlsName = { none: "", starttls: "STARTTLS", implicit: "TLS" };

// How an outcome looks: tone and glyph; the word stands beside it always.
const TONES = {
  open: ["open", "●"], ok: ["good", "✓"], accepted: ["good", "✓"], complete: ["good", "✓"], partial: ["warn", "◐"],
  encrypted: ["none", "◆"], aborted: ["none", "–"], unknown: ["none", "?"], capture_end: ["none", "–"],
  client_gone: ["warn", "–"], server_gone: ["warn", "–"], timeout: ["warn", "–"], timed_out: ["warn", "–"],
  connection_lost: ["warn", "–"], rejected_temporary: ["warn", "✕"], info: ["none", "·"], low: ["none", "·"],
  medium: ["warn", "▲"], high: ["bad", "▲"],
};
const tone = (word) => TONES[word] ?? ["bad", "✕"];

function stateful(word) {
  const [name, glyph] = tone(word);
  const made = cell("", words(word), `state tone-${name}`);
  made.dataset.glyph = glyph;
  return made;
}

function protocolCell(row) {
  const made = cell("", row.protocol.toUpperCase());
  if (row.source && world.hello.sources.length > 1) made.append(" ", element("span", { class: "tag", text: row.source }));
  if (tlsName[row.tls]) made.append(" ", element("span", { class: "tag", text: tlsName[row.tls] }));
  return made;
}

function codeMeaning({ status, enhanced, protocol }) {
  if (enhanced) {
    const [kind, subject, detail] = enhanced.split(".");
    const meaning = ENHANCED[`${subject}.${detail}`] ?? SUBJECTS[subject];
    if (meaning) return kind === "4" ? `${meaning}; for now` : meaning;
  }
  return (protocol === "smtp" || protocol === "lmtp" ? REPLIES[status] : REPLIES[status]) ?? "";
}
// RFC 3463 section 3 and its registry.
const SUBJECTS = { 1: "address", 2: "mailbox", 3: "mail system", 4: "network or routing", 5: "protocol", 6: "content",
  7: "security or policy" };
const ENHANCED = {
  "1.0": "address", "1.1": "no such mailbox", "1.2": "no such domain", "1.3": "bad mailbox syntax",
  "1.6": "mailbox has moved", "1.7": "bad sender syntax", "1.8": "no such sender domain", "1.10": "domain takes no mail",
  "2.1": "mailbox disabled", "2.2": "mailbox full", "2.3": "message too long for mailbox", "3.1": "mail system full",
  "3.2": "takes no mail at present", "3.4": "message too big", "4.1": "no answer from host", "4.2": "bad connection",
  "4.3": "directory failure", "4.4": "no route", "4.5": "congestion", "4.6": "loop", "4.7": "delivery time expired",
  "5.0": "protocol", "5.1": "command not allowed now", "5.2": "syntax error", "5.3": "too many recipients",
  "5.4": "invalid arguments", "5.6": "line too long", "6.0": "content", "7.0": "security or policy",
  "7.1": "not authorized", "7.8": "wrong credentials", "7.9": "mechanism too weak", "7.11": "encryption needed",
  "7.20": "no passing DKIM signature", "7.23": "SPF failed", "7.25": "reverse DNS failed", "7.26": "authentication failed",
};
const REPLIES = {
  421: "closing", 432: "password change needed", 450: "mailbox unavailable; for now", 451: "local error; for now",
  452: "out of storage; for now", 454: "not available; for now", 500: "unknown command", 501: "invalid arguments",
  502: "not implemented", 503: "bad sequence", 504: "parameter not implemented", 521: "takes no mail", 530: "log in first",
  534: "mechanism too weak", 535: "wrong credentials", 538: "encryption needed", 550: "mailbox unavailable",
  551: "not local", 552: "out of storage", 553: "bad mailbox name", 554: "failed", 555: "unknown parameter",
  556: "domain takes no mail", NO: "failed", BAD: "syntax error, or not allowed now", "-ERR": "failed", BYE: "closing",
};

// ---------------------------------------------------------------- what is known

const world = {
  hello: null, now: 0, ahead: 0, uptime: 0, unlisted: 0, skipped: 0, rates: [],
  sessions: new Map(), messages: [], anomalies: [], digest: null,
};
let shownRows = PAGE;
let heldBack = false;

function learn(news) {
  if (news.hello) {
    world.hello = news.hello;
    world.rates = [];
    world.messages = [];
    world.anomalies = [];
    world.sessions.clear();
    rows.clear();
    opened.clear();
    body("t-sessions").replaceChildren();
    greet(news.hello);
  }
  const { recent, seconds } = world.hello;
  world.now = news.now;
  world.ahead = news.now - Date.now();
  world.uptime = news.uptime;
  world.unlisted = news.unlisted;
  world.skipped = news.skipped;
  world.rates = world.rates.concat(news.rates ?? []).slice(-seconds);
  for (const session of news.sessions ?? []) {
    world.sessions.delete(session.id);
    world.sessions.set(session.id, session);
  }
  const over = [...world.sessions.values()].filter((session) => session.outcome);
  for (const session of over.slice(0, Math.max(0, over.length - recent))) world.sessions.delete(session.id);
  world.messages = world.messages.concat(news.messages ?? []).slice(-recent);
  world.anomalies = world.anomalies.concat(news.anomalies ?? []).slice(-recent);
  world.digest = news.digest ?? world.digest;
  if (!news.hello) announce(news.anomalies ?? []);
}

function announce(anomalies) {
  const grave = anomalies.filter((one) => one.severity === "high" || one.severity === "medium");
  if (grave.length > 0) put($("say"), `Anomaly: ${grave.map((one) => one.id).join(", ")}`);
}

function greet(hello) {
  document.body.classList.toggle("said", hello.addresses);
  document.body.classList.toggle("subjects", hello.subjects);
  put($("messages-n"), hello.addresses ? "" : "Addresses are shown only where a metrics token guards this page.");
  const options = (select, list) => {
    const known = new Set([...select.options].map((option) => option.value));
    for (const word of list) {
      if (!known.has(word)) select.append(element("option", { value: word, text: select.id === "f-source" ? word : words(word) }));
    }
  };
  options($("f-protocol"), hello.protocols);
  options($("f-outcome"), hello.outcomes);
  options($("f-source"), hello.sources);
  $("f-source").closest("label").hidden = hello.sources.length < 2;
  recall();
}

// ---------------------------------------------------------------- tiles

const mean = (list) => (list.length === 0 ? 0 : list.reduce((sum, n) => sum + n, 0) / list.length);
const perSecond = (n) => [n >= 100 ? count(Math.round(n)) : n >= 10 ? n.toFixed(1) : n.toFixed(n === 0 ? 0 : 2), "/s"];
const perMinute = (n) => [n * 60 >= 100 ? count(Math.round(n * 60)) : (n * 60).toFixed(n === 0 || n * 60 >= 10 ? 0 : 1), "/min"];
const flow = (n) => { const [number, unit] = scaled(n, ["B", "kB", "MB", "GB"], 1000); return [number, `${unit}/s`]; };

const TILES = [
  { name: "Open sessions", of: (t) => t[6], last: 1, write: (n) => [count(n), ""], level: true },
  { name: "Sessions", of: (t) => t[0], last: 10, write: perSecond },
  { name: "Commands", of: (t) => t[1], last: 10, write: perSecond },
  { name: "Messages", of: (t) => t[2], last: 60, write: perMinute },
  { name: "Refused", of: (t) => t[3], last: 60, write: perMinute },
  { name: "Traffic", of: (t) => t[4], also: (t) => t[5], last: 10, write: flow },
];

function makeTiles() {
  for (const tile of TILES) {
    tile.value = element("dd");
    tile.peak = element("dd", { class: "peak" });
    tile.spark = drawing("svg", { class: "spark", viewBox: "0 0 100 34", preserveAspectRatio: "none", "aria-hidden": "true" });
    tile.paths = ["base", "area", "line", "other"].map((name) => drawing("path", { class: name }));
    tile.paths[0].setAttribute("d", "M0 33.5H100");
    tile.spark.append(...tile.paths);
    $("tiles").append(element("div", {}, element("dt", { text: tile.name }), tile.value, tile.spark, tile.peak));
  }
}

// Means of three seconds: a point for each pixel and a half, and a calmer line.
function points(list, level) {
  const step = 3;
  const means = [];
  for (let at = list.length; at > 0; at -= step) {
    const part = list.slice(Math.max(0, at - step), at);
    means.unshift(level ? part[part.length - 1] : mean(part));
  }
  return means;
}

function line(list, top, room) {
  const width = 100 / (room - 1);
  const left = 100 - (list.length - 1) * width;
  return list.map((n, at) => `${(left + at * width).toFixed(2)} ${(33 - (31 * n) / top).toFixed(2)}`);
}

function write(target, [number, unit]) {
  const text = number + unit;
  if (target.textContent === text) return;
  target.replaceChildren(number, element("small", { text: unit }));
}

function drawTiles() {
  const room = world.hello.seconds / 3;
  for (const tile of TILES) {
    const all = world.rates.map(tile.of);
    const also = tile.also ? world.rates.map(tile.also) : [];
    const open = (world.digest?.open ?? []).reduce((sum, [, n]) => sum + n, 0);
    const now = tile.level ? open : mean(all.slice(-tile.last));
    if (tile.also) {
      write(tile.value, tile.write(now + mean(also.slice(-tile.last))));
    } else {
      write(tile.value, tile.write(now));
    }
    const [first, second] = [points(all, tile.level), points(also)];
    const most = Math.max(...first, ...second, 0);
    const top = Math.max(most, 1e-9);
    const path = line(first, top, room);
    const start = path.length > 0 ? path[0].split(" ")[0] : 0;
    tile.paths[2].setAttribute("d", path.length > 1 ? `M${path.join("L")}` : "");
    tile.paths[1].setAttribute("d", path.length > 1 ? `M${start} 33L${path.join("L")}L100 33Z` : "");
    const other = line(second, top, room);
    tile.paths[3].setAttribute("d", other.length > 1 ? `M${other.join("L")}` : "");
    const quiet = tile.also ? `in ${octets(now)}, out ${octets(mean(also.slice(-tile.last)))}` : `peak ${tile.write(most).join("")}`;
    if (tile.level) put(tile.peak, (world.digest?.open ?? []).map(([name, n]) => `${name} ${count(n)}`).join(", ") || `peak ${count(most)}`);
    else put(tile.peak, most === 0 ? "none in five minutes" : quiet);
  }
}

// ---------------------------------------------------------------- sessions

const rows = new Map();
const filter = { protocol: "", outcome: "", source: "", text: "" };
const STATES = {
  open: (session) => !session.outcome,
  over: (session) => session.outcome,
  silent: (session) => silence(session) > SLOW,
};

// For how long the server has sent nothing, after what the client sent.
const silence = (session) => (session.waits === null ? 0 : world.now - session.waits);

const holds = (texts) => texts.some((text) => text && text.toLowerCase().includes(filter.text));

function fits(session, sending) {
  if (filter.protocol && session.protocol !== filter.protocol) return false;
  if (filter.source && session.source !== filter.source) return false;
  const state = STATES[filter.outcome] ?? ((one) => one.outcome === filter.outcome);
  if (filter.outcome && !state(session)) return false;
  const { client, server, network, id, source, step, status } = session;
  return !filter.text || sending.has(id) || holds([client, server, network, id, source, step && `${step} ${status ?? ""}`]);
}

// The latest first, open or over: so a row keeps its place but for new ones above it.
function inOrder() {
  const sending = new Set();
  for (const { session, from, to, subject } of filter.text ? world.messages : []) {
    if (holds([from, to, subject])) sending.add(session);
  }
  const found = [...world.sessions.values()].filter((session) => fits(session, sending));
  return found.sort((a, b) => b.began - a.began || (a.id < b.id ? -1 : 1));
}

// ---------------------------------------------------------------- what a session did

const opened = new Map(); // by session id: its row, and the state of the session that it shows

function toggle(id) {
  const row = opened.get(id);
  if (row) {
    row.made.remove();
    opened.delete(id);
  } else {
    const inside = element("td", { role: "cell", colspan: "11" }, element("p", { class: "dim", text: "Asking …" }));
    const made = element("tr", { role: "row", class: "details", id: `d-${id}` }, inside);
    opened.set(id, { made, inside, shown: null });
  }
  drawSessions();
}

// Without the name and token that the address of the page may have: a request must not have them, and the browser knows them.
const address = (path) => `${location.origin}${new URL(path, location.href).pathname}`;

// Asks for it whenever the session has changed; one question at a time.
async function ask(id, row, session) {
  if (row.asking || row.shown === session) return;
  row.asking = true;
  try {
    const answer = await fetch(address(`session/${id}`), { cache: "no-store" });
    if (answer.status === 404) row.inside.replaceChildren(element("p", { class: "dim", text: "It is not kept any more." }));
    if (answer.ok) row.inside.replaceChildren(...details(session, await answer.json()));
    row.shown = session;
  } catch {
    row.inside.replaceChildren(element("p", { class: "dim", text: "There was no answer; it is asked again." }));
  }
  row.asking = false;
}

function details(session, { steps, commands_omitted, transactions, transactions_omitted }) {
  const facts = [`server ${session.server}`, session.source && `listener ${session.source}`, `session ${session.id}`,
    session.phase && session.outcome !== "ok" && `ended in phase ${session.phase}`];
  const made = [element("p", { class: "facts mono", text: facts.filter(Boolean).join(" · ") })];
  const omitted = (n, what) => n > 0 && made.push(element("p", { class: "dim", text: `${count(n)} earlier ${what} are not kept here; the log has them.` }));
  omitted(commands_omitted, "commands");
  if (steps.length > 0) made.push(small("Commands and replies", ["At", "Command", "Reply", "Meaning", "Took"], steps.map(stepCells)));
  omitted(transactions_omitted, "transactions");
  if (transactions.length > 0) {
    const heads = ["Outcome", "Kind", ...(world.hello.addresses ? ["From", "To"] : []), ...(world.hello.subjects ? ["Subject"] : []), "Recipients", "Size", "At"];
    made.push(small("Transactions", heads, transactions.map(transactionCells)));
  }
  if (steps.length + transactions.length === 0) made.push(element("p", { class: "dim", text: "No command yet." }));
  return made;
}

function small(name, heads, list) {
  const head = element("tr", { role: "row" }, ...heads.map((text) => element("th", { scope: "col", role: "columnheader", text })));
  const filled = list.map((cells) => element("tr", { role: "row" }, ...cells));
  return element("table", { role: "table", class: "small" }, element("caption", { text: name }),
    element("thead", { role: "rowgroup" }, head), element("tbody", { role: "rowgroup" }, ...filled));
}

function stepCells(step) {
  const refused = /^([45]|-ERR|NO|BAD|BYE)/.test(step.status ?? "");
  return [
    cell("at", step.after === null ? "" : `+${millis(step.after)}`, "mono"),
    cell("", step.step),
    cell("", [step.status, step.enhanced].filter(Boolean).join(" ") || "none", `mono${refused ? " tone-bad" : ""}`),
    cell("", refused ? codeMeaning(step) : "", "text"),
    cell("took", step.taken === null ? "" : millis(step.taken)),
  ];
}

function transactionCells(one) {
  const said = (label, text) => cell(label, text === null ? "" : text === "" ? "<>" : text, "text");
  return [
    stateful(one.outcome),
    cell("", one.kind),
    ...(world.hello.addresses ? [said("from", one.from), said("to", one.to)] : []),
    ...(world.hello.subjects ? [said("subject", one.subject)] : []),
    cell("recipients", one.kind === "delivery" ? count(one.recipients) : ""),
    cell("size", one.size === null ? "" : octets(one.size)),
    cell("at", time(one.at)),
  ];
}

// From a message or an anomaly to its session.
function sessionButton(client, id) {
  const made = element("button", { type: "button", class: "quiet mono", text: host(client) });
  made.setAttribute("aria-label", `Show the session of ${host(client)}`);
  made.addEventListener("click", () => {
    $("filter").reset();
    $("f-text").value = id;
    refilter();
    if (!opened.has(id) && world.sessions.has(id)) toggle(id);
    $("sessions").scrollIntoView({ block: "start" });
    $("f-text").focus();
  });
  return element("td", { role: "cell", "data-label": "" }, made);
}

function sessionRow(session) {
  const last = session.step ? `${session.step}${session.status ? ` ${session.status}` : ""}` : "nothing yet";
  const made = element("tr", { role: "row" });
  const number = (label, n) => cell(label, count(n), `n${n === 0 ? " dim zero" : ""}`);
  const took = cell("for", "", "n");
  const silent = element("span", { class: "slow" });
  const word = session.outcome ?? "open";
  const [name, glyph] = tone(word);
  const open = element("button", { type: "button", class: "quiet open", "aria-controls": `d-${session.id}` },
    element("span", { class: "glyph", "aria-hidden": "true", text: glyph }), words(word));
  open.setAttribute("aria-label", `${words(word)}: what the session of ${session.client} did`);
  const state = element("td", { role: "cell", class: `tone-${name}` }, open);
  made.addEventListener("click", (event) => {
    // Who marks text in it wants to copy that.
    if (event.target.closest("button") || String(getSelection()) === "") toggle(session.id);
  });
  const replied = cell("last reply", last);
  replied.append(silent);
  made.append(
    state,
    protocolCell(session),
    cell("", session.client, "mono"),
    replied,
    number("commands", session.commands),
    number("messages", session.messages),
    number("refused", session.refused),
    cell("in, out", `${octets(session.octets[0])}, ${octets(session.octets[1])}`, "n"),
    cell("began", time(session.began), "n"),
    took,
    cell("session", session.id, "mono dim"),
  );
  if (session.phase && session.outcome !== "ok") made.cells[0].title = `ended in phase ${session.phase}`;
  return { made, took, silent, open, session };
}

function drawSessions() {
  const all = inOrder();
  const list = all.slice(0, shownRows);
  const wanted = new Set();
  const table = body("t-sessions");
  let next = table.firstElementChild;
  const place = (node) => {
    if (node === next) next = next.nextElementSibling;
    else table.insertBefore(node, next);
  };
  const known = rows.size > 0;
  for (const session of list) {
    wanted.add(session.id);
    let row = rows.get(session.id);
    if (row?.session !== session) {
      const made = sessionRow(session);
      if (row) {
        const held = document.activeElement === row.open;
        if (next === row.made) next = made.made;
        row.made.replaceWith(made.made);
        if (held) made.open.focus({ preventScroll: true });
      } else if (known) {
        made.made.classList.add("fresh");
      }
      rows.set(session.id, made);
      row = made;
    }
    put(row.took, span((session.outcome ? session.heard : world.now) - session.began));
    put(row.silent, silence(session) > SLOW ? `server silent since ${time(session.waits)}` : "");
    const below = opened.get(session.id);
    row.open.setAttribute("aria-expanded", String(Boolean(below)));
    place(row.made);
    if (below) {
      place(below.made);
      ask(session.id, below, session);
    }
  }
  for (const [id, row] of opened) {
    if (wanted.has(id)) continue;
    row.made.remove();
    if (!world.sessions.has(id)) opened.delete(id);
  }
  for (const [id, row] of rows) {
    if (!wanted.has(id)) {
      row.made.remove();
      rows.delete(id);
    }
  }
  const total = world.sessions.size;
  const isFiltered = Object.values(filter).some(Boolean);
  put($("sessions-n"), isFiltered ? `${count(all.length)} of ${count(total)} match` : "");
  put($("e-sessions"), all.length > 0 ? "" : isFiltered && total > 0 ? "No session matches the filter." :
    "No session yet. mailtap is watching; the first connection will stand here.");
  $("e-sessions").hidden = all.length > 0;
  const rest = all.length - list.length;
  $("more").hidden = rest <= 0;
  put($("more"), moreWords(rest));
  put($("unlisted"), world.unlisted > 0 ? `${count(world.unlisted)} more open sessions are counted, not listed.` : "");
}

// ---------------------------------------------------------------- the other lists

const moreWords = (rest) => (rest > MORE ? `Show ${MORE} more of ${count(rest)}` : `Show ${count(rest)} more`);

// Rows of a list that only grows at its end: made once, the latest first, the last taken off.
function grow(id, list, make) {
  const table = body(id);
  const made = grow.made.get(id) ?? new Map();
  grow.made.set(id, made);
  const room = grow.room.get(id) ?? PAGE;
  const shown = list.slice(-room).reverse();
  const kept = new Set(shown);
  for (const [one, row] of made) {
    if (kept.has(one)) continue;
    row.remove();
    made.delete(one);
  }
  const calm = made.size === 0;
  let next = table.firstElementChild;
  for (const one of shown) {
    let row = made.get(one);
    if (!row) {
      row = make(one);
      if (!calm && next === table.firstElementChild) row.classList.add("fresh");
      made.set(one, row);
    }
    if (row === next) next = next.nextElementSibling;
    else table.insertBefore(row, next);
  }
  const name = id.slice(2);
  $(`e-${name}`).hidden = list.length > 0;
  const rest = list.length - shown.length;
  $(`more-${name}`).hidden = rest <= 0;
  put($(`more-${name}`), moreWords(rest));
}
grow.made = new Map();
grow.room = new Map();

function messageRow(message) {
  const said = (label, text, kind = "") => cell(label, text === null ? "" : text === "" ? "<>" : text, `said text ${kind}${text === null ? " zero" : ""}`);
  const made = element("tr", { role: "row" });
  const what = stateful(message.outcome);
  if (message.kind !== "delivery") what.append(" ", element("span", { class: "tag", text: message.kind }));
  made.append(
    what,
    protocolCell(message),
    sessionButton(message.client, message.session),
    said("from", message.from),
    said("to", message.to),
    said("subject", message.subject, "subject"),
    cell("recipients", message.kind === "delivery" ? count(message.recipients) : "", `n${message.kind === "delivery" ? "" : " zero"}`),
    cell("size", message.size === null ? "" : octets(message.size), `n${message.size === null ? " zero" : ""}`),
    cell("at", time(message.at), "n"),
  );
  return made;
}

function anomalyRow(anomaly) {
  const what = cell("", anomaly.id, "text");
  const more = [anomaly.variant, anomaly.state, `by ${anomaly.sender}`].filter(Boolean).map(words).join(", ");
  what.append(" ", element("span", { class: "dim", text: more }));
  const made = element("tr", { role: "row" });
  made.append(
    stateful(anomaly.severity),
    what,
    sessionButton(anomaly.client, anomaly.session),
    cell("times", count(anomaly.count), "n"),
    cell("at", time(anomaly.at), "n"),
  );
  return made;
}

function latencyRow(one) {
  const at = (ms) => Math.min(97, Math.max(3, 3 + (94 * (Math.log10(Math.max(ms, 1e-9)) + 1)) / 6));
  const picture = drawing("svg", { viewBox: "0 0 100 14", "aria-hidden": "true" });
  picture.append(
    drawing("line", { x1: 0, x2: 100, y1: 7, y2: 7 }),
    drawing("line", { class: "span", x1: at(one.p50), x2: at(one.p99), y1: 7, y2: 7 }),
    drawing("line", { class: "tick", x1: at(one.p95), x2: at(one.p95), y1: 3, y2: 11 }),
    drawing("circle", { cx: at(one.p50), cy: 7, r: 3.5 }),
  );
  const made = element("tr", { role: "row" });
  const step = cell("", one.step);
  if (one.slow_since !== null) {
    const since = world.now - (world.uptime - one.slow_since) * 1000;
    step.append(element("span", { class: "slow", text: `slow since ${time(since)}, was ${millis(one.usual)}` }));
  }
  made.append(
    cell("", one.protocol.toUpperCase()),
    step,
    cell("replies", count(one.count), "n"),
    cell("p50", millis(one.p50), "n"),
    cell("p95", millis(one.p95), "n"),
    cell("p99", millis(one.p99), "n"),
    element("td", { role: "cell", class: "range" }, picture),
  );
  return made;
}

function refusalRow(one) {
  const made = element("tr", { role: "row" });
  made.append(
    cell("", one.protocol.toUpperCase()),
    cell("", one.step === "OTHER" && !one.status ? "others" : one.step),
    cell("", [one.status, one.enhanced].filter(Boolean).join(" "), "mono"),
    cell("", codeMeaning(one), "text"),
    cell("times", count(one.count), "n"),
  );
  return made;
}

function topRow({ name, at_least, at_most }, list, write) {
  const made = element("tr", { role: "row" });
  const who = element("td", { role: "cell" });
  if (list.of === "client_network" || list.of === "server") {
    const choose = element("button", { type: "button", class: "quiet mono", text: name });
    choose.setAttribute("aria-label", `Show the sessions of ${name}`);
    choose.addEventListener("click", () => {
      $("f-text").value = name;
      refilter();
      $("sessions").scrollIntoView({ block: "start" });
      $("f-text").focus();
    });
    who.append(choose);
  } else {
    who.classList.add("mono", "text");
    who.textContent = name;
  }
  const bar = element("span");
  bar.style.width = `${(100 * at_least) / Math.max(1, list.entries[0].at_least)}%`;
  const share = (100 * at_least) / Math.max(1, list.total);
  made.append(
    who,
    cell("", `${at_most > at_least ? "≥ " : ""}${write(at_least)}`, "n"),
    cell("share", `${share >= 10 ? Math.round(share) : share.toFixed(1)} %`, "n"),
    element("td", { role: "cell", class: "bar-cell", "aria-hidden": "true" }, bar),
  );
  return made;
}

// The choices of `tops`, made anew only when there are others.
function choices(fieldset, name, list) {
  if (fieldset.dataset.words === list.join()) return;
  fieldset.dataset.words = list.join();
  const chosen = fieldset.querySelector("input:checked")?.value;
  fieldset.querySelectorAll("label").forEach((label) => label.remove());
  for (const word of list) {
    const input = element("input", { type: "radio", name, value: word });
    input.checked = word === chosen || (!list.includes(chosen) && word === list[0]);
    const plural = { client_network: "client networks", server: "servers", recipient_domain: "recipient domains", user: "users" };
    fieldset.append(element("label", {}, input, plural[word] ?? words(word)));
  }
}

function drawTop(tops) {
  choices($("of"), "of", [...new Set(tops.map((list) => list.of))]);
  const of = document.querySelector("input[name=of]:checked")?.value;
  choices($("by"), "by", tops.filter((list) => list.of === of).map((list) => list.by));
  const by = document.querySelector("input[name=by]:checked")?.value;
  const list = tops.find((one) => one.of === of && one.by === by);
  if (!list) return;
  const write = by === "bytes" ? octets : count;
  // Who holds the focus keeps it: the row is made anew.
  const held = document.activeElement?.closest?.("#t-top") ? document.activeElement.textContent : null;
  const shown = list.entries.slice(0, PAGE);
  body("t-top").replaceChildren(...shown.map((one) => topRow(one, list, write)));
  if (held !== null) [...body("t-top").querySelectorAll("button")].find((one) => one.textContent === held)?.focus();
  $("e-top").hidden = shown.length > 0;
  const most = Math.max(list.others_at_most, ...list.entries.slice(PAGE).map((one) => one.at_most));
  put($("e-top"), list.total === 0 ? "Nothing was counted in the last five minutes." :
    `Nobody stands out: of ${write(list.total)} in all, nobody has more than ${write(most)}.`);
  put($("bound"), shown.length === 0 ? "" : most === 0 ? `${write(list.total)} in all; nobody else has any.` :
    `${write(list.total)} in all; nobody else has more than ${write(most)}.`);
}

let drawnDigest = null;
function drawDigest(force) {
  const digest = world.digest;
  if (!digest || (digest === drawnDigest && !force)) return;
  drawnDigest = digest;
  const fill = (id, made) => {
    body(id).replaceChildren(...made);
    $(`e${id.slice(1)}`).hidden = made.length > 0;
  };
  fill("t-latency", digest.latencies.map(latencyRow));
  fill("t-refusals", digest.refusals.map(refusalRow));
  drawTop(digest.tops);
}

function drawRest() {
  const { hello } = world;
  grow("t-messages", world.messages, messageRow);
  grow("t-anomalies", world.anomalies, anomalyRow);
  const grave = world.anomalies.filter((one) => one.severity === "high" || one.severity === "medium").length;
  $("alarm").hidden = grave === 0;
  put($("alarm"), count(grave));
  const input = { proxy: "inline proxy", live: "live capture", file: "capture file" }[hello.input] ?? hello.input;
  const skipped = world.skipped > 0 ? ` · ${count(world.skipped)} rows came too fast to be listed` : "";
  put($("about"), `mailtap ${hello.version} · ${input} · up ${span(world.uptime * 1000)}${skipped}`);
}

function draw() {
  if (!world.hello || heldBack) return;
  drawTiles();
  drawSessions();
  drawDigest(false);
  drawRest();
}

// ---------------------------------------------------------------- the user

function refilter() {
  filter.protocol = $("f-protocol").value;
  filter.outcome = $("f-outcome").value;
  filter.source = $("f-source").value;
  filter.text = $("f-text").value.trim().toLowerCase();
  shownRows = PAGE;
  remember();
  if (world.hello) drawSessions();
}

// The filter stands in the address, so that a view can be kept and passed on.
function remember() {
  const kept = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
  const hash = kept.size > 0 ? `#${kept}` : "";
  if (hash !== location.hash && (hash || location.hash.includes("="))) {
    history.replaceState(null, "", hash || location.pathname + location.search);
  }
}

function recall() {
  if (!location.hash.includes("=")) return;
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(filter)) {
    if (kept.has(name)) $(`f-${name}`).value = kept.get(name);
  }
  refilter();
}

function listen() {
  $("filter").addEventListener("input", refilter);
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("filter").addEventListener("reset", () => setTimeout(refilter));
  for (const name of ["of", "by"]) $(name).addEventListener("change", () => drawDigest(true));
  $("more").addEventListener("click", () => {
    shownRows += MORE;
    drawSessions();
  });
  for (const name of ["messages", "anomalies"]) {
    $(`more-${name}`).addEventListener("click", () => {
      grow.room.set(`t-${name}`, (grow.room.get(`t-${name}`) ?? PAGE) + MORE);
      drawRest();
    });
  }
  $("pause").addEventListener("click", () => {
    heldBack = !heldBack;
    $("pause").setAttribute("aria-pressed", String(heldBack));
    if (lastNews) told(heldBack ? "held" : "live");
    draw();
  });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (!document.hidden) {
      if (!source) connect();
    } else {
      hiding = setTimeout(leave, HIDDEN);
    }
  });
}

// ---------------------------------------------------------------- the connection

let source = null;
let lastNews = 0;
let failures = 0;
let retry = 0;
let hiding = 0;
let confirming = 0;

function told(state, text) {
  $("link").dataset.state = state;
  $("pause").hidden = state === "lost" || state === "wait";
  document.querySelector("main").classList.toggle("stale", state === "lost");
  put($("link"), text ?? { live: "Live", held: "Paused; what happens meanwhile is not lost" }[state]);
}

function connect() {
  clearTimeout(retry);
  source = new EventSource("events");
  source.onmessage = (event) => {
    failures = 0;
    lastNews = performance.now();
    try {
      learn(JSON.parse(event.data));
      if ($("link").dataset.state !== (heldBack ? "held" : "live")) told(heldBack ? "held" : "live");
      draw();
    } catch (error) {
      console.error(error);
    }
  };
  source.addEventListener("seat", (event) => confirm(event.data));
  source.onerror = () => lost();
  lastNews = performance.now();
}

// Whoever does not say so now and then may lose the place to another.
function confirm(seat) {
  clearInterval(confirming);
  const say = () => fetch(address(`seat/${seat}`), { cache: "no-store" }).then((answer) => answer.text()).catch(() => {});
  confirming = setInterval(say, CONFIRM);
  say();
}

function leave() {
  clearInterval(confirming);
  source?.close();
  source = null;
}

async function lost() {
  leave();
  failures += 1;
  let why = "Connection lost";
  try {
    const answer = await fetch(address("events"), { method: "HEAD", cache: "no-store" });
    if (answer.status === 401) why = "The token is not valid any more: load the page again";
    if (answer.status === 503) why = "Too many viewers at the moment";
  } catch {
    // Not reachable: the first words say so.
  }
  if (source) return;
  const pause = Math.min(30, 2 ** failures);
  const as = world.now ? `; as of ${time(world.now)}` : "";
  told("lost", `${why}${as}. Retrying in ${pause} s.`);
  retry = setTimeout(connect, pause * 1000);
}

setInterval(() => {
  if (source && performance.now() - lastNews > SILENCE) lost();
}, 1000);

makeTiles();
listen();
connect();
