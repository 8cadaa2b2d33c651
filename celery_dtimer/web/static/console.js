// What a page does beyond showing itself: local times, live parts, a brush on the histogram, a box for all boxes.
"use strict";
(() => {
  const body = document.body;
  const base = body.dataset.base || "";

  // --- times: the viewer's zone, with UTC beside or behind

  const pad = (number) => String(number).padStart(2, "0");
  const local = (at) =>
    `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ` +
    `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  const clock = (at) => (body.dataset.live === "month" ? local(at).slice(0, 10) : local(at).slice(11, 16));

  function showTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (time.title || Number.isNaN(at.getTime())) continue;
      const utc = time.textContent;
      time.title = utc;
      const shown = local(at);
      // On the same day, UTC's clock is enough.
      const behind = utc.startsWith(shown.slice(0, 10)) ? utc.slice(11) : utc;
      time.textContent = time.closest(".both") ? `${shown} (${behind})` : shown;
    }
  }

  const zone = document.getElementById("zone");
  if (zone) zone.textContent = `Times are in ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
  showTimes(document);

  // The bars are one stop of the tab key, as arrows lead from one to the next.
  function oneStop(root, stop = 0) {
    root.querySelectorAll(".spans a").forEach((link, number) => (link.tabIndex = number === stop ? 0 : -1));
  }
  oneStop(document);

  // --- live: one connection a page, none while the page is not seen

  const away = document.getElementById("away");
  const summary = document.getElementById("summary");
  let source = null;
  let saidAt = 0;
  let lost = 0;

  function say(text) {
    away.hidden = !text;
    if (away.textContent !== text) away.textContent = text;
  }

  function show(told) {
    if (told.away) {
      say(`The timer's Redis does not answer. What is shown is old. (${told.away})`);
      return;
    }
    if (body.dataset.away) {
      location.reload();
      return;
    }
    say("");
    for (const [name, html] of Object.entries(told.parts)) {
      const part = document.getElementById(`part-${name}`);
      // Not under somebody's hands: a focus, a brush, an open table.
      if (!part || part.dataset.kept || part.contains(document.activeElement) || part.querySelector("details[open]")) continue;
      if (part.dataset.sent === html) continue;
      part.dataset.sent = html;
      part.innerHTML = html;
      showTimes(part);
      oneStop(part);
    }
    if (summary && summary.textContent.trim() !== told.summary && Date.now() - saidAt > 30000) {
      summary.textContent = told.summary;
      saidAt = Date.now();
    }
  }

  function connect() {
    if (source || !body.dataset.live || document.hidden) return;
    source = new EventSource(`${base}/live?range=${encodeURIComponent(body.dataset.live)}`);
    source.onmessage = (message) => {
      clearTimeout(lost);
      lost = 0;
      show(JSON.parse(message.data));
    };
    source.onerror = () => {
      if (!lost && !body.dataset.away) lost = setTimeout(() => say("The console does not answer. What is shown is old."), 6000);
      if (source.readyState === EventSource.CLOSED) {
        disconnect();
        setTimeout(connect, 5000);
      }
    };
  }

  function disconnect() {
    if (source) source.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);
  connect();

  // --- the histogram: a drag, or arrows with shift, chooses a span; its list takes the place of the next events

  const hero = document.getElementById("part-chart");
  const list = document.getElementById("part-soonest");
  const title = document.getElementById("list-title");
  const original = title && title.textContent;

  if (hero && list) {
    let first = null;
    let last = null;
    let dragging = false;
    let dragged = false;
    const links = () => [...hero.querySelectorAll(".spans a")];
    const between = () => links().slice(Math.min(first, last), Math.max(first, last) + 1);

    function readout(chosen) {
      const out = document.getElementById("readout");
      if (!out) return;
      if (!chosen.length) {
        out.textContent = "";
        return;
      }
      const count = chosen.reduce((sum, link) => sum + Number(link.dataset.count), 0);
      const from = clock(new Date(chosen[0].dataset.from));
      const to = clock(new Date(chosen[chosen.length - 1].dataset.to));
      out.textContent = `${from} to ${to}: ${count.toLocaleString("en").replaceAll(",", "\u202f")}`;
    }

    function mark() {
      const chosen = first === null ? [] : between();
      for (const link of links()) link.classList.toggle("chosen", chosen.includes(link));
      readout(chosen);
    }

    function clear() {
      first = last = null;
      delete hero.dataset.kept;
      delete list.dataset.kept;
      delete list.dataset.sent;
      title.textContent = original;
      mark();
    }

    async function filter() {
      const chosen = between();
      const from = chosen[0].dataset.from;
      const to = chosen[chosen.length - 1].dataset.to;
      hero.dataset.kept = list.dataset.kept = "1";
      const address = `${base}/events?from=${encodeURIComponent(from)}&to=${encodeURIComponent(to)}`;
      let found = null;
      try {
        const answer = await fetch(address, { credentials: "same-origin" });
        if (answer.ok) found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("list");
      } catch {
        found = null;
      }
      if (!found) {
        location.assign(address);
        return;
      }
      list.replaceChildren(...found.childNodes);
      showTimes(list);
      boxes(list);
      title.textContent = `Due ${clock(new Date(from))} to ${clock(new Date(to))}`;
      const back = document.createElement("button");
      back.type = "button";
      back.className = "quiet";
      back.textContent = "Show what is next again";
      back.addEventListener("click", () => {
        clear();
        back.remove();
        title.focus();
      });
      list.append(back);
    }

    const at = (event) => {
      const all = links();
      const frame = hero.querySelector(".spans").getBoundingClientRect();
      const place = Math.floor(((event.clientX - frame.left) / frame.width) * all.length);
      return Math.max(0, Math.min(all.length - 1, place));
    };

    hero.addEventListener("pointerdown", (event) => {
      if (event.button || !event.target.closest(".spans")) return;
      first = last = at(event);
      dragging = true;
      dragged = false;
      hero.dataset.kept = "1";
    });
    addEventListener("pointermove", (event) => {
      if (!dragging) return;
      last = at(event);
      dragged = dragged || last !== first;
      if (dragged) mark();
    });
    addEventListener("pointerup", () => {
      if (!dragging) return;
      dragging = false;
      if (dragged) filter();
      else if (!list.dataset.kept) delete hero.dataset.kept;
    });
    addEventListener("pointercancel", () => {
      if (dragging) clear();
      dragging = false;
    });
    hero.addEventListener("dragstart", (event) => event.preventDefault());
    hero.addEventListener("click", (event) => {
      // The end of a drag is no click on a bar.
      if (dragged && event.target.closest(".spans")) event.preventDefault();
      dragged = false;
    });
    hero.addEventListener("pointerover", (event) => {
      const link = event.target.closest(".spans a");
      if (link && !dragging && first === null) readout([link]);
    });
    hero.addEventListener("pointerleave", () => {
      if (!dragging && first === null) readout([]);
    });
    hero.addEventListener("focusin", (event) => {
      const link = event.target.closest(".spans a");
      if (link && !dragging) readout([link]);
    });
    hero.addEventListener("keydown", (event) => {
      const link = event.target.closest(".spans a");
      if (!link) return;
      const all = links();
      const here = all.indexOf(link);
      const steps = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: all.length - 1 };
      if (event.key === "Escape") clear();
      if (event.key === "Enter" && first !== null && first !== last) {
        event.preventDefault();
        filter();
      }
      if (!(event.key in steps)) return;
      event.preventDefault();
      const next = Math.max(0, Math.min(all.length - 1, steps[event.key]));
      if (event.shiftKey) {
        first = first === null ? here : first;
        last = next;
        mark();
      } else if (first !== null) {
        clear();
      }
      oneStop(hero, next);
      all[next].focus();
      if (event.shiftKey) mark();
    });
    title.tabIndex = -1;
  }

  // --- a box for all boxes

  function boxes(root) {
    const head = root.querySelector("form.bulk thead .pick");
    if (!head || head.querySelector("input")) return;
    const all = document.createElement("input");
    all.type = "checkbox";
    all.setAttribute("aria-label", "Choose all of this page");
    all.addEventListener("change", () => {
      for (const box of root.querySelectorAll('form.bulk input[name="id"]')) box.checked = all.checked;
    });
    head.replaceChildren(all);
  }
  boxes(document);
})();
