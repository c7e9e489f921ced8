"use strict";
{
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const say = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `${button.textContent} theme`); };
  // A page opened as a file may not be allowed to remember.
  try { root.dataset.theme = localStorage.getItem("theme") ?? ""; } catch { }
  button.hidden = false;
  button.onclick = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { }
    say();
  };
  matchMedia("(prefers-color-scheme: dark)").onchange = say;
  say();

  // A number as pages write it: large counts in groups of three, shares in per cent, an interval's or a unit's words behind.
  const value = (row, column) => {
    const cell = row.cells[column], text = cell.textContent.trim();
    const [whole, number] = text.match(/^([-+]?(?:[\d,]*\.?\d+(?:e[-+]?\d+)?|inf))(?: %)?/i) ?? [];
    if (["", "-", "NaN"].includes(text)) return null;
    // Names may begin with a number.
    if (!number || (whole !== text && !cell.classList.contains("number"))) return text;
    return /inf/i.test(number) ? (number.startsWith("-") ? -Infinity : Infinity) : Number(number.replaceAll(",", ""));
  };
  // Numbers before words.
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? (a > b) - (a < b)
    : typeof a === typeof b ? a.localeCompare(b, undefined, { numeric: true }) : typeof a === "number" ? -1 : 1;
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.onclick = () => {
        const down = head.ariaSort === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.ariaSort = down ? "descending" : "ascending";
        const rows = [...table.tBodies[0].rows].map(row => [value(row, column), row]);
        // What is missing stays last, whichever way.
        rows.sort(([a], [b]) => a === null ? (b === null ? 0 : 1) : b === null ? -1 : down ? compare(b, a) : compare(a, b));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      };
    });
  }

  // Charts: what stands where the pointer is, or where the slider under the chart is put by keyboard.
  const nearest = (sorted, x, of) => {
    let [low, high] = [0, sorted.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (of(sorted[middle]) < x) low = middle; else high = middle;
    }
    return Math.abs(of(sorted[low]) - x) <= Math.abs(of(sorted[high]) - x) ? low : high;
  };
  for (const figure of document.querySelectorAll("figure.chart")) {
    const lines = JSON.parse(figure.querySelector("script").textContent).filter(line => line.points.length);
    for (const line of lines) line.points.sort((a, b) => a[0] - b[0]);
    const stops = [...new Set(lines.filter(line => line.shown).flatMap(line => line.points.map(point => point[0])))].sort((a, b) => a - b);
    if (!stops.length) continue;
    const plot = figure.querySelector("svg.plot"), drawn = name => document.createElementNS(plot.namespaceURI, name), caption = figure.querySelector("figcaption").textContent;
    const slider = document.createElement("input"), reading = document.createElement("output"), cursor = drawn("g");
    Object.assign(slider, { type: "range", min: 0, max: stops.length - 1, step: 1, value: 0 });
    slider.setAttribute("aria-label", `Read: ${caption}`);
    reading.className = "reading";
    reading.textContent = "Point at the chart, or move the slider, to read values.";
    cursor.setAttribute("class", "cursor");
    plot.append(cursor);
    plot.after(slider, reading);
    const show = at => {
      const x = stops[at], rule = drawn("path");
      rule.setAttribute("d", `M${x} 10V276`);
      cursor.replaceChildren(rule);
      reading.replaceChildren();
      let said = "";
      for (const line of lines) {
        const point = line.points[nearest(line.points, x, p => p[0])];
        // A line that has ended says nothing here.
        if (Math.abs(point[0] - x) > 12) continue;
        if (line.shown) {
          const dot = drawn("circle");
          dot.setAttribute("class", line.look);
          for (const [name, value] of [["cx", point[0]], ["cy", point[1]], ["r", 4]]) dot.setAttribute(name, value);
          cursor.append(dot);
        }
        if (said !== point[2]) {
          const where = document.createElement("b");
          where.textContent = point[2];
          reading.append(said ? " · " : "", where);
          said = point[2];
        }
        reading.append(` · ${line.name} ${point[3]}`);
      }
      slider.setAttribute("aria-valuetext", reading.textContent);
    };
    slider.oninput = () => show(slider.valueAsNumber);
    plot.onpointermove = event => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
      slider.value = nearest(stops, at.x, x => x);
      show(slider.valueAsNumber);
    };
    plot.onpointerdown = plot.onpointermove;
  }

  // Maps: the image that is nearest to the pointer, or that the slider stands at, with all of its class; on the other maps of the
  // same data, too.
  const maps = [], pictures = new Map();
  for (const figure of document.querySelectorAll("figure.map")) {
    const points = JSON.parse(figure.querySelector("script").textContent), plot = figure.querySelector("svg"), circles = [...plot.querySelectorAll("circle")];
    if (!points.length) continue;
    const slider = document.createElement("input"), reading = document.createElement("output"), caption = figure.querySelector("figcaption").textContent;
    Object.assign(slider, { type: "range", min: 0, max: points.length - 1, step: 1, value: 0 });
    slider.setAttribute("aria-label", `Images of: ${caption}`);
    reading.className = "reading";
    reading.textContent = "Point at the map, or move the slider, to see images.";
    plot.after(slider, reading);
    const places = circles.map(circle => [circle.cx.baseVal.value, circle.cy.baseVal.value]);
    const by = new Map(points.map((point, at) => [point.name, at])), key = name => `${figure.dataset.of} ${name}`;
    // A picture stands in the first map of its data.
    for (const point of points) if (point.picture) pictures.set(key(point.name), point);
    const show = at => {
      const { name, class: own } = points[at], { picture, other } = pictures.get(key(name)) ?? {};
      slider.value = at;
      plot.classList.add("chosen");
      circles.forEach((circle, n) => {
        circle.classList.toggle("same", points[n].class === own);
        circle.classList.toggle("here", n === at);
        // What is drawn last is in front.
        if (n === at) plot.append(circle);
      });
      const words = document.createElement("span"), what = document.createElement("b");
      what.textContent = own;
      words.append(what, ` · ${name}${other ? " · other file" : ""}`);
      reading.replaceChildren(words);
      if (picture) {
        const image = document.createElement("img");
        Object.assign(image, { src: picture, alt: name });
        reading.prepend(image);
      }
      slider.setAttribute("aria-valuetext", words.textContent);
    };
    const choose = at => {
      for (const map of maps) {
        const there = map.of === figure.dataset.of ? map.by.get(points[at].name) : undefined;
        if (there !== undefined) map.show(there);
      }
    };
    maps.push({ of: figure.dataset.of, by, show });
    slider.oninput = () => choose(slider.valueAsNumber);
    plot.onpointermove = event => {
      const pointer = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
      const apart = ([x, y]) => (x - pointer.x) ** 2 + (y - pointer.y) ** 2;
      let at = 0;
      places.forEach((place, n) => { if (apart(place) < apart(places[at])) at = n; });
      choose(at);
    };
    plot.onpointerdown = plot.onpointermove;
  }

  // Confusion: what a cell counts in words, under the pointer or where the slider is put; it goes from the commonest mistake on.
  for (const figure of document.querySelectorAll("figure.confusion")) {
    const table = figure.querySelector("table"), times = cell => Number(cell.textContent);
    const cells = [...table.querySelectorAll("td[title]:not(.right)")].sort((a, b) => times(b) - times(a));
    if (!cells.length) continue;
    const slider = document.createElement("input"), reading = document.createElement("output");
    Object.assign(slider, { type: "range", min: 0, max: cells.length - 1, step: 1, value: 0 });
    slider.setAttribute("aria-label", "Read: mistakes, the commonest first");
    reading.className = "reading";
    reading.textContent = "Point at a cell, or move the slider, to read it in words.";
    figure.append(slider, reading);
    const show = cell => {
      table.querySelector(".here")?.classList.remove("here");
      cell.classList.add("here");
      reading.textContent = cell.title;
      slider.setAttribute("aria-valuetext", cell.title);
    };
    slider.oninput = () => {
      const cell = cells[slider.valueAsNumber], scroll = table.parentElement;
      show(cell);
      // Sideways alone: the slider stays where it is.
      scroll.scrollLeft = cell.offsetLeft - scroll.clientWidth / 2;
    };
    table.onpointermove = event => {
      const cell = event.target.closest("td[title]");
      if (!cell) return;
      if (cells.includes(cell)) slider.value = cells.indexOf(cell);
      show(cell);
    };
    table.onpointerdown = table.onpointermove;
  }

  // Thresholds: what would be decided at the one that the slider stands at, and which pairs wrongly.
  for (const figure of document.querySelectorAll("figure.threshold")) {
    const { genuine, impostor, counts, words: called, first } = JSON.parse(figure.querySelector("script").textContent);
    const slider = document.createElement("input"), reading = document.createElement("output"), run = figure.closest("section");
    Object.assign(slider, { type: "range", min: 0, max: counts.length - 1, step: 1, value: first });
    slider.setAttribute("aria-label", `Threshold: ${run.querySelector("h2").textContent}`);
    reading.className = "reading";
    reading.textContent = "Move the slider to see rates, counts and mistakes at another threshold.";
    figure.querySelector(".note").remove();
    figure.append(slider, reading);
    // Three digits, and two of what is missing from 100 %: what is not all is not said to be.
    const percent = share => {
      const hundredths = 100 * share, figures = (of, count) => count - 1 - Math.floor(Math.log10(of));
      const digits = hundredths > 0 && hundredths < 100 ? Math.max(figures(hundredths, 3), figures(100 - hundredths, 2)) : 0;
      return `${Number(hundredths.toFixed(Math.min(Math.max(digits, 0), 10)))} %`;
    };
    const grouped = count => count.toLocaleString("en");
    slider.oninput = () => {
      const [at, accepted, rejected] = counts[slider.valueAsNumber], words = document.createElement("b");
      const threshold = `threshold ${called[slider.valueAsNumber]}`;
      words.textContent = threshold;
      const right = genuine + impostor - accepted - rejected;
      reading.replaceChildren(words, ` · FMR ${percent(accepted / impostor)}: ${grouped(accepted)} of ${grouped(impostor)} impostor pairs accepted · FNMR `
        + `${percent(rejected / genuine)}: ${grouped(rejected)} of ${grouped(genuine)} genuine pairs rejected · ${percent(right / (genuine + impostor))} of all pairs decided rightly`);
      slider.setAttribute("aria-valuetext", reading.textContent);
      for (const [kind, wrong, is] of [["impostor", accepted, score => score >= at], ["genuine", rejected, score => score < at]]) {
        const pairs = [...run.querySelectorAll(`.judged[data-kind=${kind}]`)];
        let shown = 0;
        // They stand with the farthest first.
        for (const pair of pairs) {
          pair.hidden = shown === 12 || !is(Number(pair.dataset.score));
          shown += !pair.hidden;
        }
        const note = pairs[0]?.closest(".gallery").querySelector(".note");
        if (note) note.textContent = `${shown} of ${grouped(wrong)} pairs that ${threshold} decides wrongly; those farthest from it first.`;
      }
    };
  }
}
