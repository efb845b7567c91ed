"use strict";
(() => {
  const EVERY_MS = 1000;
  const TIMEOUT_MS = 3000;
  const KEPT = 121; // two minutes and the moment before
  const EVENTS = 20;
  const kept = []; // the last answers, oldest first
  let silentSince = 0;

  const at = (id) => document.getElementById(id);

  // What the page has several times stands in it once.
  for (const [part, places] of [["chart", "figure"], ["sessions", "table.sessions"]]) {
    for (const place of document.querySelectorAll(places)) place.append(at(part).content.cloneNode(true));
  }

  // --- Numbers ---------------------------------------------------------------------------------------------

  const count = new Intl.NumberFormat("en");

  const short = (value) => {
    if (value < 10 && value !== Math.round(value)) return value.toFixed(1);
    return value < 1e6 ? count.format(Math.round(value)) : (value / 1e6).toFixed(2) + " M";
  };

  const bytes = (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = 0;
    for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
    return [value.toFixed(unit === 0 || value >= 100 ? 0 : 1), units[unit]];
  };

  const bytesText = (value) => bytes(value).join(" ");

  const percent = (ratio) => `${(ratio * 100).toFixed(ratio < .1 ? 1 : 0)} %`;

  const span = (seconds) => {
    const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24;
    const minutes = Math.floor(seconds / 60) % 60;
    if (days > 0) return `${days} d ${hours} h`;
    if (hours > 0) return `${hours} h ${minutes} min`;
    return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
  };

  // A time in microseconds; null: there was none.
  const time = (us) => {
    if (us === null) return "\u2013";
    if (us < 1000) return `${Math.round(us)} \u00b5s`;
    if (us < 1e6) return `${(us / 1e3).toFixed(us < 1e4 ? 1 : 0)} ms`;
    return us < 6e7 ? `${(us / 1e6).toFixed(us < 1e7 ? 1 : 0)} s` : span(Math.round(us / 1e6));
  };

  // What a share of the times that a histogram gained do not exceed, as Prometheus estimates it.
  const quantile = (share, times, before, bounds) => {
    const gained = times.buckets.map((n, i) => Math.max(0, n - (before?.buckets[i] ?? 0)));
    let rank = share * gained.reduce((sum, n) => sum + n, 0);
    if (rank === 0) return null;
    for (let i = 0; i < bounds.length; i++) {
      const low = i > 0 ? bounds[i - 1] : 0, here = gained[i] ?? 0;
      if (rank <= here) return low + (bounds[i] - low) * rank / here;
      rank -= here;
    }
    return bounds[bounds.length - 1];
  };

  // What a counter gained a second between two answers. One that fell began anew.
  const rate = (get, from, to) => {
    const seconds = (to.read_us - from.read_us) / 1e6;
    return seconds > 0 ? Math.max(0, get(to) - get(from)) / seconds : 0;
  };

  // --- Charts ----------------------------------------------------------------------------------------------

  const WIDTH = 240, HEIGHT = 64;

  const path = (svg, name, d) => {
    let element = svg.querySelector("." + name);
    if (!element) {
      element = document.createElementNS("http://www.w3.org/2000/svg", "path");
      element.setAttribute("class", name);
      svg.append(element);
    }
    element.setAttribute("d", d);
  };

  // A peak that is easy to read: 1, 2 or 5 and zeros.
  const roundUp = (value) => {
    const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
    return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value);
  };

  const draw = (id, values, now, unit, label) => {
    const figure = at(id), svg = figure.querySelector("svg");
    const peak = Math.max(0, ...values), top = roundUp(peak);
    const step = WIDTH / (KEPT - 2);
    const left = WIDTH - (values.length - 1) * step;
    const points = values.map((v, i) => `${(left + i * step).toFixed(1)} ${(HEIGHT - 1 - v / top * (HEIGHT - 4)).toFixed(1)}`);
    path(svg, "base", `M0 ${HEIGHT - .5}H${WIDTH}`);
    path(svg, "area", points.length > 1 ? `M${left} ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z` : "");
    path(svg, "trace", points.length > 1 ? `M${points.join("L")}` : "");
    figure.querySelector("b").textContent = now;
    figure.querySelector(".unit").textContent = unit;
    figure.querySelector(".scale").textContent = `peak ${label(peak)}`;
  };

  const drawCharts = (status) => {
    const rates = (get) => kept.slice(1).map((answer, i) => rate(get, kept[i], answer));
    const recent = (get) => (kept.length > 1 ? rate(get, kept[Math.max(0, kept.length - 4)], status) : 0);
    const perSecond = (text) => text + "/s";
    const sessions = kept.map((answer) => answer.sessions);
    const up = bytes(recent((a) => a.client_bytes)), down = bytes(recent((a) => a.server_bytes));

    draw("chart-sessions", sessions.slice(-(KEPT - 1)), short(status.sessions), `of ${count.format(status.sessions_limit)}`, short);
    draw("chart-accepts", rates((a) => a.stats.accepted), short(recent((a) => a.stats.accepted)), "a second", (v) => perSecond(short(v)));
    draw("chart-up", rates((a) => a.client_bytes), up[0], up[1] + " a second", (v) => perSecond(bytesText(v)));
    draw("chart-down", rates((a) => a.server_bytes), down[0], down[1] + " a second", (v) => perSecond(bytesText(v)));
  };

  const drawMeter = (id, used, room, text) => {
    const meter = at(id), part = room > 0 ? used / room : 0;
    meter.classList.toggle("tight", part > .9);
    meter.querySelector("b").style.width = Math.min(100, part * 100).toFixed(1) + "%";
    meter.querySelector("output").textContent = `${text(used)} of ${text(room)}`;
  };

  // --- Tables ----------------------------------------------------------------------------------------------

  const fill = (id, rows, otherwise) => {
    const body = at(id).tBodies[0];
    const shown = rows.length > 0 ? rows : [{ kind: "none", cells: [otherwise] }];
    while (body.rows.length > shown.length) body.deleteRow(-1);
    shown.forEach((row, i) => {
      const line = body.rows[i] || body.insertRow();
      line.className = row.kind || "";
      while (line.cells.length > row.cells.length) line.deleteCell(-1);
      row.cells.forEach((text, k) => {
        const cell = line.cells[k] || line.insertCell();
        if (cell.textContent !== String(text)) cell.textContent = text;
      });
    });
  };

  const serverKey = (server) => server.pool + "/" + server.server;

  const fillTables = (status, then, old) => {
    const before = new Map(then.servers.map((server) => [serverKey(server), server]));
    const seconds = Math.max(.001, (status.read_us - then.read_us) / 1e6);
    const gained = (server, key) => {
      const earlier = before.get(serverKey(server));
      return earlier && then !== status ? Math.max(0, server[key] - earlier[key]) / seconds : 0;
    };

    const newOf = (listener) => {
      const earlier = thenListeners.get(listener.listener);
      return earlier && then !== status ? Math.max(0, listener.accepted - earlier.accepted) / seconds : 0;
    };
    const times = (now, earlier) => [.5, .99].map((share) => time(quantile(share, now, earlier, status.time_bounds_us)));
    const oldServers = new Map(old.servers.map((server) => [serverKey(server), server]));
    const oldListeners = new Map(old.listeners.map((listener) => [listener.listener, listener]));
    const thenListeners = new Map(then.listeners.map((listener) => [listener.listener, listener]));

    fill("servers", status.servers.filter((s) => s.current || s.sessions > 0).map((s) => ({
      kind: gained(s, "failures") > 0 ? "bad" : s.current ? "" : "gone",
      cells: [s.pool, s.server + (s.current ? "" : " (no longer configured)"), s.state, count.format(s.sessions),
        short(gained(s, "connects")), short(gained(s, "failures")), count.format(s.failures),
        count.format(s.ports), count.format(s.ports_time_wait),
        ...times(s.connect, oldServers.get(serverKey(s))?.connect)],
    })), "none yet");
    fill("worker-rows", status.workers.filter((w) => w.worker < status.workers_configured || w.sessions > 0).map((w) => {
      const hangs = w.state === "serving" && w.beat_age_ms > 3000;
      return {
        kind: w.worker < status.workers_configured && status.state === "serving" && (w.state !== "serving" || hangs) ? "bad" : "",
        cells: [w.worker, hangs ? `hangs for ${Math.floor(w.beat_age_ms / 1000)} s` : w.state, percent(w.busy_ratio),
          count.format(w.sessions), count.format(w.deaths), w.pid || "\u2013"],
      };
    }), "none");
    fill("listeners", status.listeners.filter((l) => l.current || l.sessions > 0).map((l) => ({
      kind: l.current ? (l.accept_queue?.drops > (oldListeners.get(l.listener)?.accept_queue?.drops ?? 0) ? "bad" : "") : "gone",
      cells: [l.listener, count.format(l.sessions), short(newOf(l)),
        l.accept_queue ? `${count.format(l.accept_queue.length)} of ${count.format(l.accept_queue.limit)}` : "\u2013",
        l.accept_queue ? count.format(l.accept_queue.drops) : "\u2013",
        ...times(l.first_byte, oldListeners.get(l.listener)?.first_byte),
        ...times(l.duration, oldListeners.get(l.listener)?.duration)],
    })), "none");
    fill("closes", Object.entries(status.closes).filter(([, total]) => total > 0)
      .map(([reason, total]) => [reason, total - old.closes[reason], total])
      .sort((a, b) => b[1] - a[1] || b[2] - a[2])
      .map(([reason, now, total]) => ({ cells: [reason.replaceAll("_", " "), count.format(now), count.format(total)] })),
    "none has ended yet");
    fill("flow-rows", Object.entries(status.flows).filter(([state]) => state !== "capacity")
      .map(([state, entries]) => ({ cells: [state.replaceAll("_", " "), count.format(entries)] })), "none");
  };

  const keeper = (timeWait) => (timeWait.mode === "owned" ? "Penstock" : "the kernel");

  const fillTimeWait = (status, old) => {
    const now = status.time_wait, then = old.time_wait;
    const interfaces = `${count.format(now.interfaces)} interface${now.interfaces === 1 ? "" : "s"}`;
    const details = now.mode === "owned" ? `, 2MSL ${time(now.two_msl_ms * 1000)}, ${interfaces}` : now.why && `: ${now.why}`;
    const counters = [...Object.keys(now.counters).map((name) => [name.replaceAll("_", " "), now.counters[name], then.counters[name]]),
      ["sockets the kernel was relieved of", now.kernel_destroyed, then.kernel_destroyed], ["swept", now.sweep.freed, then.sweep.freed]];

    at("time-wait-mode").textContent = `kept by ${keeper(now)}${details}`;
    fill("time-wait", counters.filter(([, total]) => total > 0)
      .map(([name, total, before]) => ({ cells: [name, count.format(Math.max(0, total - before)), count.format(total)] })), "nothing yet");
    at("sweep").textContent = `To be swept: ${count.format(now.sweep.expired)}. The last round took ${time(now.sweep.round_ms * 1000)}.`;
  };

  const fillSessions = (id, sessions) => fill(id, sessions.map((s) => ({
    cells: [`${s.worker}/${s.serial}`, s.source, `${s.pool}/${s.server}`, s.state, span(Math.floor(s.age_ms / 1000)), span(Math.floor(s.idle_ms / 1000)),
      bytesText(s.client_bytes), bytesText(s.server_bytes), bytesText(s.client_queued_bytes + s.server_queued_bytes)],
  })), "none");

  // --- Events ----------------------------------------------------------------------------------------------

  const events = []; // newest first

  // With the day, where that is another.
  const when = (date) => (date.toDateString() === new Date().toDateString() ? date.toLocaleTimeString() : date.toLocaleString());

  // What an instance remembers of the time before this page was opened: the last of each kind.
  const recallEvents = (status) => {
    const past = status.workers.filter((w) => w.incarnation > 1)
      .map((w) => [w.adopted_age_ms, `worker ${w.worker} was replaced; deaths in all: ${count.format(w.deaths)}`]);
    if (status.generation > 1) past.push([status.generation_seconds * 1000, `configuration no. ${status.generation} was taken`]);
    past.sort((a, b) => a[0] - b[0]);
    events.push(...past.slice(0, EVENTS).map(([age, what]) => [when(new Date(Date.now() - age)), what]));
  };

  const noteEvents = (then, now) => {
    const note = (what) => events.unshift([when(new Date()), what]);
    const were = new Map(then.workers.map((worker) => [worker.worker, worker]));
    for (const worker of now.workers) {
      const was = were.get(worker.worker);
      if (was && worker.deaths > was.deaths) note(`worker ${worker.worker} died; its sessions went on`);
    }
    const servers = new Map(then.servers.map((server) => [serverKey(server), server]));
    for (const server of now.servers) {
      const was = servers.get(serverKey(server));
      if (was && server.state !== was.state) note(`server ${serverKey(server)}: ${server.state}`);
    }
    if (now.generation > then.generation) note(`configuration no. ${now.generation} is in use`);
    if (now.reloads_failed > then.reloads_failed) note("a reload was refused");
    if (now.upgrades > then.upgrades) note(`upgraded to ${now.version}`);
    if (now.live !== then.live) note(now.live ? "every worker serves again" : now.reason);
    if (now.state !== then.state) note(now.state);
    if (now.time_wait.mode !== then.time_wait.mode) note(`TIME_WAIT is kept by ${keeper(now.time_wait)}`);
    if (now.accept_paused !== then.accept_paused) note(now.accept_paused ? "accepting is paused: a limit is reached" : "accepting again");
    events.length = Math.min(events.length, EVENTS);
  };

  // --- The verdict -----------------------------------------------------------------------------------------

  // Of workers: one that has no CPU time left, or far more than its share of the sessions.
  const unevenness = (status) => {
    const serving = status.workers.filter((w) => w.worker < status.workers_configured && w.state === "serving");
    const mean = serving.reduce((sum, w) => sum + w.sessions, 0) / Math.max(1, serving.length);
    const notes = [];
    for (const w of serving) {
      if (w.busy_ratio > .9) notes.push(`Worker ${w.worker} has hardly any CPU time left (${percent(w.busy_ratio)} busy).`);
      if (w.sessions > 1000 && w.sessions > 2 * mean) notes.push(`Worker ${w.worker} has more than twice its share of the sessions.`);
    }
    return notes;
  };

  const notesOf = (status, old) => {
    const notes = [];
    const gained = (get) => get(status) - get(old);
    const deaths = (s) => s.workers.reduce((sum, w) => sum + w.deaths, 0);

    if (status.accept_paused) notes.push("Accepting is paused: a limit is reached; new connections wait in the kernel's queue.");
    else if (status.sessions > .9 * status.sessions_limit) notes.push("Nine tenths of limits.sessions are in use.");
    if (status.receivers_waiting > 0) notes.push(`${count.format(status.receivers_waiting)} connections wait for a buffer.`);
    if (gained(deaths) > 0) notes.push(`Workers died in the last two minutes: ${gained(deaths)}. Their sessions went on.`);
    notes.push(...unevenness(status));
    const drops = gained((s) => s.listeners.reduce((sum, l) => sum + (l.accept_queue?.drops ?? 0), 0));
    if (drops > 0) notes.push(`The kernel dropped ${count.format(drops)} new connections in the last two minutes: an accept queue was full.`);
    if (gained((s) => s.stats.connect_failures) > 0) notes.push(`${count.format(gained((s) => s.stats.connect_failures))} connects to servers failed in the last two minutes.`);
    const portless = gained((s) => s.servers.reduce((sum, server) => sum + server.ports_exhausted, 0));
    if (portless > 0) notes.push(`No source port was free toward a server ${count.format(portless)} times in the last two minutes.`);
    const unplaced = gained((s) => s.stats.flow_failures + s.time_wait.counters.insert_failures);
    if (unplaced > 0) notes.push(`${count.format(unplaced)} connections found no place in the flow table in the last two minutes.`);
    if (gained((s) => s.reloads_failed) > 0) notes.push("A reload was refused; the configuration from before is in use.");
    if (gained((s) => s.stats.log_dropped) > 0) notes.push("The access log loses lines: the disk is too slow for it.");
    return notes;
  };

  const show = (mood, verdict, detail) => {
    document.body.dataset.mood = mood;
    if (at("verdict").textContent !== verdict) at("verdict").textContent = verdict;
    at("detail").textContent = detail;
    const colour = { good: "%232c7a4b", warn: "%23e0a020", bad: "%23d03020", wait: "%23888888" }[mood];
    const icon = `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'><circle cx='4' cy='4' r='4' fill='${colour}'/></svg>`;
    if (at("icon").getAttribute("href") !== icon) at("icon").setAttribute("href", icon);
  };

  const judge = (status, notes) => {
    const sessions = `${count.format(status.sessions)} session${status.sessions === 1 ? "" : "s"}`;

    if (!status.live) show("bad", "Not well", status.reason);
    else if (!status.ready) show("warn", status.reason === "draining" ? "Draining" : "Stopping", `${sessions} left; nothing new is accepted`);
    else if (notes.length > 0) show("warn", "Serving, with something to look at", `${sessions}, every worker serves`);
    else show("good", "All is well", `${sessions}, every worker serves`);
    document.title = `${status.name}: ${at("verdict").textContent}`;
  };

  const render = (status) => {
    const old = kept[0], then = kept[Math.max(0, kept.length - 11)];
    const notes = notesOf(status, old);

    judge(status, notes);
    at("name").textContent = status.name;
    at("up").textContent = span(status.up_seconds);
    at("workers").textContent = `${status.workers_serving} of ${status.workers_configured}`;
    at("generation").textContent = `no. ${status.generation}, ${span(status.generation_seconds)} ago`;
    at("version").textContent = status.version;
    at("notes").hidden = notes.length === 0;
    at("notes").replaceChildren(...notes.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    drawCharts(status);
    drawMeter("meter-sessions", status.sessions, status.sessions_limit, (v) => count.format(v));
    drawMeter("meter-buffers", status.buffer_lent_bytes, status.buffer_budget_bytes, bytesText);
    const { capacity, ...states } = status.flows;
    drawMeter("meter-flows", Object.values(states).reduce((sum, n) => sum + n, 0), capacity, (v) => count.format(v));
    fillTables(status, then, old);
    fillTimeWait(status, old);
    if (kept.length > 1) noteEvents(kept[kept.length - 2], status);
    else if (events.length === 0) recallEvents(status);
    fill("events", events.map((cells) => ({ cells })), "none yet");
    at("seen").textContent = `as of ${new Date().toLocaleTimeString()}, every second`;
  };

  // --- Asking ----------------------------------------------------------------------------------------------

  const restarted = (status) => kept.length > 0 && status.up_seconds < kept[kept.length - 1].up_seconds;

  const get = async (path) => {
    const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return response.json();
  };

  const ask = async () => {
    const status = await get("/api/status");
    const top = await get("/api/top");
    fillSessions("biggest", top.bytes);
    fillSessions("slowest", top.queued);
    fillSessions("oldest", top.age);
    if (restarted(status)) kept.length = 0;
    if (kept.length > 0 && kept[kept.length - 1].read_us === status.read_us) return;
    kept.push(status);
    if (kept.length > KEPT) kept.shift();
    silentSince = 0;
    render(status);
  };

  const turn = async () => {
    const begun = Date.now();
    if (!document.hidden) {
      try {
        await ask();
      } catch (error) {
        silentSince = silentSince || begun;
        const silent = Math.round((Date.now() - silentSince) / 1000);
        show("bad", "No answer", `from the exporter for ${silent} s (${error.message}); what is below is old`);
        document.title = "Penstock: no answer";
      }
    }
    setTimeout(turn, Math.max(100, EVERY_MS - (Date.now() - begun)));
  };

  turn();
})();
