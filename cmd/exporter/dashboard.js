"use strict";
(() => {
  const EVERY_MS = 1000;
  const TIMEOUT_MS = 3000;
  const KEPT = 121; // two minutes and the moment before
  const kept = []; // the last answers, oldest first
  let silentSince = 0;

  const at = (id) => document.getElementById(id);

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

  const span = (seconds) => {
    const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24;
    const minutes = Math.floor(seconds / 60) % 60;
    if (days > 0) return `${days} d ${hours} h`;
    if (hours > 0) return `${hours} h ${minutes} min`;
    return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
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

    fill("servers", status.servers.filter((s) => s.current || s.sessions > 0).map((s) => ({
      kind: gained(s, "failures") > 0 ? "bad" : s.current ? "" : "gone",
      cells: [s.pool, s.server + (!s.current ? " (no longer configured)" : s.state === "up" ? "" : ` (${s.state})`), count.format(s.sessions),
        short(gained(s, "connects")), short(gained(s, "failures")), count.format(s.failures)],
    })), "none yet");
    fill("worker-rows", status.workers.filter((w) => w.worker < status.workers_configured || w.sessions > 0).map((w) => {
      const hangs = w.state === "serving" && w.beat_age_ms > 3000;
      return {
        kind: w.worker < status.workers_configured && status.state === "serving" && (w.state !== "serving" || hangs) ? "bad" : "",
        cells: [w.worker, hangs ? `hangs for ${Math.floor(w.beat_age_ms / 1000)} s` : w.state, count.format(w.sessions),
          count.format(w.deaths), w.pid || "\u2013"],
      };
    }), "none");
    fill("listeners", status.listeners.filter((l) => l.current || l.sessions > 0).map((l) => ({
      kind: l.current ? "" : "gone",
      cells: [l.listener, count.format(l.sessions)],
    })), "none");
    fill("closes", Object.entries(status.closes).filter(([, total]) => total > 0)
      .map(([reason, total]) => [reason, total - old.closes[reason], total])
      .sort((a, b) => b[1] - a[1] || b[2] - a[2])
      .map(([reason, now, total]) => ({ cells: [reason.replaceAll("_", " "), count.format(now), count.format(total)] })),
    "none has ended yet");
  };

  // --- The verdict -----------------------------------------------------------------------------------------

  const notesOf = (status, old) => {
    const notes = [];
    const gained = (get) => get(status) - get(old);
    const deaths = (s) => s.workers.reduce((sum, w) => sum + w.deaths, 0);

    if (status.accept_paused) notes.push("Accepting is paused: a limit is reached; new connections wait in the kernel's queue.");
    else if (status.sessions > .9 * status.sessions_limit) notes.push("Nine tenths of limits.sessions are in use.");
    if (status.receivers_waiting > 0) notes.push(`${count.format(status.receivers_waiting)} connections wait for a buffer.`);
    if (gained(deaths) > 0) notes.push(`Workers died in the last two minutes: ${gained(deaths)}. Their sessions went on.`);
    if (gained((s) => s.stats.connect_failures) > 0) notes.push(`${count.format(gained((s) => s.stats.connect_failures))} connects to servers failed in the last two minutes.`);
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
    at("generation").textContent = `no. ${status.generation}`;
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
    drawMeter("meter-flows", status.flows.active + status.flows.fin_wait2 + status.flows.time_wait, status.flows.capacity, (v) => count.format(v));
    fillTables(status, then, old);
    at("seen").textContent = `as of ${new Date().toLocaleTimeString()}, every second`;
  };

  // --- Asking ----------------------------------------------------------------------------------------------

  const restarted = (status) => kept.length > 0 && status.up_seconds < kept[kept.length - 1].up_seconds;

  const ask = async () => {
    const response = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const status = await response.json();
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
