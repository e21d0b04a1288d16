// Draws the charts of #data into their figures, and does the page's small comforts: theme, tips, sorting, saving.
// The page is whole without it.
'use strict';
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById('data').textContent);
  const element = (name, parent, set = {}) => Object.assign((parent.append(document.createElement(name)), parent.lastChild), set);
  const shown = v => v === 0 ? '0' : Math.abs(v) >= 1e3 ? Math.round(v).toLocaleString('en') : String(+v.toPrecision(3));

  // What the style sheet says in the theme of the moment.
  const probe = element('i', document.body, {hidden: true});
  const colour = name => (probe.style.color = `var(--${name})`, getComputedStyle(probe).color);
  const faint = (rgb, part) => rgb.replace(/rgba?\(([^)]+)\)/, (_, n) => `rgba(${n.split(',').slice(0, 3)}, ${part})`);
  const series_colour = s => colour('c' + (s.colour === 0 ? 0 : (s.colour - 1) % 7 + 1));
  const shapes = ['circle', 'rectRot', 'triangle', 'rect', 'circle', 'rectRot', 'triangle'];
  const shape = s => s.colour === 0 ? 'rect' : shapes[(s.colour - 1 + 2 * Math.floor((s.colour - 1) / 7)) % 7];

  // Long names of methods on several lines, cut after a comma, a colon or a space.
  const lines = (text, most) => {
    const all = [];
    for (const piece of text.match(/[^,: +]+[,: +]?|[,: +]/g) || ['']) {
      if (all.length && (all.at(-1) + piece).trim().length <= most) all[all.length - 1] += piece;
      else all.push(piece);
    }
    return all;
  };

  // The interval of a point: a thin bar with caps, under points and over bars.
  function draw_intervals(chart, index) {
    if (!chart.isDatasetVisible(index)) return;
    const set = chart.data.datasets[index], area = chart.chartArea, pen = chart.ctx, cap = 3.5;
    const lying = chart.options.indexAxis === 'y', scale = chart.scales[lying ? 'x' : 'y'];
    const line = (x1, y1, x2, y2) => (pen.beginPath(), pen.moveTo(x1, y1), pen.lineTo(x2, y2), pen.stroke());
    pen.save();
    pen.beginPath(), pen.rect(area.left, area.top, area.width, area.height), pen.clip();
    pen.strokeStyle = lying ? colour('ink') : faint(set.borderColor, .5), pen.lineWidth = 1.25;
    chart.getDatasetMeta(index).data.forEach((at, i) => {
      const {low, high} = set.data[i];
      if (low === undefined) return;
      const a = scale.getPixelForValue(low), b = scale.getPixelForValue(high);
      if (lying) line(a, at.y, b, at.y), line(a, at.y - cap, a, at.y + cap), line(b, at.y - cap, b, at.y + cap);
      else line(at.x, a, at.x, b), line(at.x - cap, a, at.x + cap, a), line(at.x - cap, b, at.x + cap, b);
    });
    pen.restore();
  }
  const intervals = {
    id: 'intervals',
    beforeDatasetDraw: (chart, {index}) => { if (chart.options.indexAxis !== 'y') draw_intervals(chart, index); },
    afterDatasetDraw: (chart, {index}) => { if (chart.options.indexAxis === 'y') draw_intervals(chart, index); },
  };

  function range(axis, values) {
    if (!axis.log) return {beginAtZero: true, ...(axis.most === null ? {} : {max: axis.most})};
    const logs = values.filter(v => v > 0).map(Math.log10), low = Math.min(...logs), high = Math.max(...logs);
    const pad = Math.max((high - low) * .06, .03);
    return {min: 10 ** (low - pad), max: 10 ** (high + pad)};
  }

  // Logarithmic: 1, 2, 5, 10 over a short range, powers of ten over a long one.
  function log_ticks(scale) {
    const decades = Math.log10(scale.max / scale.min), steps = decades > 3 ? [1] : decades > 1.6 ? [1, 3] : [1, 2, 5];
    const ticks = [];
    for (let power = Math.floor(Math.log10(scale.min)); power <= Math.log10(scale.max); ++power)
      for (const step of steps) {
        const value = step * 10 ** power;
        if (value >= scale.min && value <= scale.max) ticks.push({value});
      }
    if (ticks.length > 1) scale.ticks = ticks;
  }

  function scale_of(axis, values, lying = false) {
    const words = new Map(axis.ticks.map(t => [t.at, t.word]));
    return {
      type: axis.log ? 'logarithmic' : 'linear',
      ...range(axis, values),
      ...(lying && !axis.log ? {max: Math.max(...values) * (values.length > 200 ? 1 : 1.03)} : {}),
      afterBuildTicks: scale => {
        if (words.size && words.size <= 12) scale.ticks = [...words.keys()].sort((a, b) => a - b).map(value => ({value}));
        else if (axis.log) log_ticks(scale);
      },
      title: {display: true, text: axis.title, color: colour('soft'), padding: 6},
      grid: {color: colour('line'), borderColor: colour('line'), tickLength: 4},
      ticks: {color: colour('soft'), maxRotation: 0, includeBounds: axis.log, autoSkipPadding: 8, callback: v => words.get(v) ?? shown(v)},
    };
  }

  const all_points = spec => spec.series.flatMap(s => s.points);

  const tooltip = (spec, lying) => ({
    backgroundColor: colour('tip'), titleColor: colour('tip-ink'), bodyColor: colour('tip-ink'), padding: 10, cornerRadius: 8,
    boxPadding: 4, filter: item => !item.dataset.front,
    titleFont: {weight: '600', size: 12}, bodyFont: {size: 12},
    callbacks: {
      title: items => items.length ? lines(items[0].raw.note || '', 34) : '',
      label: item => {
        const p = item.raw, value = lying ? (p.x) : p.y, name = spec.kind === 'stack' ? item.dataset.label + ', ' : '';
        const all = [name + spec.y.title + ': ' + shown(value)];
        if (!lying) all.push(spec.x.title + ': ' + (spec.x.ticks.find(t => t.at === p.x)?.word ?? shown(p.x)));
        if (p.low !== undefined) all.push('from ' + shown(p.low) + ' to ' + shown(p.high));
        return all;
      },
    },
  });

  function line_config(spec) {
    const points = all_points(spec), many = points.length / spec.series.length > 24;
    const sets = spec.series.map(s => {
      const c = series_colour(s);
      return {
        label: s.label, data: s.points, borderColor: c, borderWidth: many ? 2.25 : 1.75, borderDash: s.run % 2 ? [6, 4] : [], showLine: true,
        backgroundColor: c, pointBackgroundColor: s.run % 2 ? colour('card') : c, pointBorderColor: c, pointBorderWidth: 1.75,
        pointStyle: shape(s), pointRadius: many ? 0 : 4.5, pointHoverRadius: 7, pointHitRadius: 14,
      };
    });
    if (spec.front.length)
      sets.push({label: '', front: true, data: spec.front, order: 9, showLine: true, borderColor: faint(colour('accent'), .16),
        borderWidth: 13, borderCapStyle: 'round', borderJoinStyle: 'round', pointRadius: 0, pointHitRadius: 0, pointHoverRadius: 0});
    const bounds = points.flatMap(p => p.low === undefined ? [p.y] : [p.y, p.low, p.high]);
    return {
      type: 'scatter', data: {datasets: sets}, plugins: [intervals],
      options: {
        scales: {x: scale_of(spec.x, points.map(p => p.x), true), y: scale_of(spec.y, bounds)},
        plugins: {tooltip: tooltip(spec, false), legend: {display: false}},
        interaction: {mode: 'nearest', intersect: true},
      },
    };
  }

  const bar_names = spec => [...new Set(all_points(spec).map(p => p.note))];

  function bar_config(spec, width) {
    const names = bar_names(spec), stacked = spec.kind === 'stack';
    const bounds = all_points(spec).flatMap(p => p.low === undefined ? [] : [p.low, p.high]);
    const value = scale_of(spec.y, []);
    if (bounds.length) value.suggestedMin = Math.min(...bounds), value.suggestedMax = Math.max(...bounds);
    return {
      type: 'bar', plugins: [intervals],
      data: {
        labels: names.map(n => lines(n, width < 480 ? 20 : 44).map(l => l.trim())),
        datasets: spec.series.map(s => ({
          label: s.label, borderColor: series_colour(s), backgroundColor: faint(series_colour(s), stacked ? .9 : .75), borderRadius: 3,
          maxBarThickness: 18, data: names.map((n, i) => { const p = s.points.find(q => q.note === n); return p ? {...p, x: p.y, y: i} : {x: null, y: i}; }),
        })),
      },
      options: {
        indexAxis: 'y',
        scales: {
          x: {...value, stacked, type: 'linear'},
          y: {stacked, grid: {display: false, borderColor: colour('line')}, ticks: {color: colour('ink'), autoSkip: false, font: {family: mono, size: 11}}},
        },
        plugins: {tooltip: tooltip(spec, true), legend: {display: false}},
        interaction: {mode: stacked ? 'index' : 'nearest', axis: 'y', intersect: false},
      },
    };
  }

  const marks = {circle: '<circle cx="13" cy="6" r="4"/>', rect: '<path d="M9.5 2.5h7v7h-7z"/>',
    rectRot: '<path d="M13 1l5 5-5 5-5-5z"/>', triangle: '<path d="M13 1.5l4.6 8.5H8.4z"/>'};

  function swatch(spec, s) {
    const c = series_colour(s);
    if (spec.kind !== 'lines') return `<svg viewBox="0 0 26 12"><rect x="5" y="0" width="16" height="12" rx="3" fill="${c}"/></svg>`;
    return `<svg viewBox="0 0 26 12" stroke="${c}" stroke-width="1.75" fill="${s.run % 2 ? 'none' : c}">` +
      `<path d="M0 6h26"${s.run % 2 ? ' stroke-dasharray="4 3"' : ''}/>${marks[shape(s)]}</svg>`;
  }

  function legend(figure, spec, chart) {
    figure.querySelector('.legend')?.remove();
    if (spec.series.length < 2 && !spec.front.length) return;
    const list = element('ul', figure, {className: 'legend'});
    spec.series.forEach((s, i) => {
      const button = element('button', element('li', list), {type: 'button', innerHTML: swatch(spec, s), title: 'show or hide'});
      button.append(s.label), button.setAttribute('aria-pressed', 'true');
      button.onclick = () => {
        const on = !chart.isDatasetVisible(i);
        chart.setDatasetVisibility(i, on), chart.update(), button.setAttribute('aria-pressed', on);
      };
    });
    if (spec.front.length)
      element('em', element('li', list), {innerHTML: `<svg viewBox="0 0 26 12"><path d="M3 6h20" stroke="${faint(colour('accent'), .2)}" stroke-width="10" stroke-linecap="round"/></svg>best trades`});
  }

  const mono = getComputedStyle(root).getPropertyValue('--mono');
  const drawn = [];

  function draw() {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    Object.assign(Chart.defaults, {responsive: true, maintainAspectRatio: false, animation: false});
    for (const chart of drawn.splice(0)) chart.destroy();
    for (const figure of document.querySelectorAll('figure[data-chart]')) {
      const spec = data.charts[figure.dataset.chart];
      const box = figure.querySelector('.canvas') || element('div', figure, {className: 'canvas'});
      const canvas = box.firstChild || element('canvas', box);
      canvas.setAttribute('role', 'img'), canvas.setAttribute('aria-label', spec.title + '; its numbers are in the tables of this section');
      const bars = spec.kind !== 'lines';
      if (bars) box.style.height = 76 + bar_names(spec).reduce((h, n) => h + Math.max(30, 17 * lines(n, box.clientWidth < 480 ? 20 : 44).length), 0) + 'px';
      const chart = new Chart(canvas, bars ? bar_config(spec, box.clientWidth) : line_config(spec));
      drawn.push(chart), legend(figure, spec, chart);
    }
  }

  // Automatic, light, dark; remembered where the browser lets a file remember.
  function theme() {
    const words = {auto: 'Auto', light: 'Light', dark: 'Dark'}, order = Object.keys(words), button = document.getElementById('theme');
    let now = 'auto';
    try { now = localStorage.getItem('lowkey-theme') || 'auto'; } catch {}
    const apply = () => {
      if (!words[now]) now = 'auto';
      if (now === 'auto') delete root.dataset.theme; else root.dataset.theme = now;
      button.textContent = words[now], button.setAttribute('aria-label', 'Theme: ' + words[now]);
      if (root.classList.contains('drawn')) draw();
    };
    button.hidden = false;
    button.onclick = () => {
      now = order[(order.indexOf(now) + 1) % order.length];
      try { localStorage.setItem('lowkey-theme', now); } catch {}
      apply();
    };
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);
    apply();
  }

  // Hints of heat maps at once, and for fingers too.
  function tips() {
    const tip = element('div', document.body, {id: 'tip', hidden: true});
    for (const cell of document.querySelectorAll('.map td[title]')) cell.dataset.tip = cell.title, cell.removeAttribute('title');
    const show = event => {
      const cell = event.target.closest?.('[data-tip]');
      tip.hidden = !cell;
      if (!cell) return;
      tip.textContent = cell.dataset.tip;
      const at = cell.getBoundingClientRect(), left = at.left + at.width / 2 - tip.offsetWidth / 2;
      tip.style.left = Math.max(8, Math.min(left, root.clientWidth - tip.offsetWidth - 8)) + 'px';
      tip.style.top = (at.top > tip.offsetHeight + 70 ? at.top - tip.offsetHeight - 8 : at.bottom + 8) + 'px';
    };
    document.addEventListener('pointerover', show), document.addEventListener('pointerdown', show);
    document.addEventListener('scroll', () => { tip.hidden = true; }, {passive: true, capture: true});
  }

  // A click on a heading sorts a table's rows by that column, another turns them round.
  function sorting() {
    const value = row_cell => { const n = parseFloat(row_cell.textContent.replace(/,/g, '')); return Number.isNaN(n) ? Infinity : n; };
    for (const table of document.querySelectorAll('.scroll table:not(.map)')) {
      const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
      if (body.rows.length < 3 || table.classList.contains('words')) continue;
      heads.forEach((head, column) => {
        head.classList.add('sorts'), head.tabIndex = 0;
        const sort = () => {
          const up = head.getAttribute('aria-sort') !== 'ascending';
          heads.forEach(h => h.removeAttribute('aria-sort')), head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
          const order = (a, b) => column === 0 ? a.cells[0].textContent.localeCompare(b.cells[0].textContent, 'en', {numeric: true})
            : value(a.cells[column]) - value(b.cells[column]) || 0;
          body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
        };
        head.onclick = sort, head.onkeydown = event => event.key === 'Enter' && sort();
      });
    }
  }

  function saving() {
    const button = document.getElementById('save');
    button.hidden = false;
    button.onclick = () => {
      const file = URL.createObjectURL(new Blob([JSON.stringify(data.runs, null, 1)], {type: 'application/json'}));
      element('a', document.body, {href: file, download: 'lowkey-report.json', hidden: true}).click();
      setTimeout(() => URL.revokeObjectURL(file), 1000);
    };
  }

  if (typeof Chart !== 'undefined') {
    root.classList.add('drawn');
    for (const fold of document.querySelectorAll('details.fold')) fold.open = false;
    addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(d => { d.open = true; }));
  }
  theme(), tips(), sorting(), saving();
})();
