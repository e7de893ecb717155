// Draws one dashboard with Grafana's own components: its JSON and the answers of Prometheus are in window.shown.
// The frame around (grid, rows, variables) and the heatmap are drawn here; Grafana keeps those in its server.
import React from 'react';
import { createRoot } from 'react-dom/client';
import * as data from '@grafana/data';
import {
  applyFieldOverrides, createTheme, FieldConfigOptionsRegistry, FieldType, formattedValueToString, getDisplayProcessor, getFieldDisplayName,
  getFieldDisplayValues, getValueFormat, standardFieldConfigEditorRegistry, ThemeContext, toDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import 'uplot/dist/uPlot.min.css';

const theme = createTheme({ colors: { mode: window.shown.light ? 'light' : 'dark' } });
const { board, answers, start, end, step } = window.shown;
const range = { from: data.dateTime(start * 1000), to: data.dateTime(end * 1000), raw: { from: 'now', to: 'now' } };
standardFieldConfigEditorRegistry.setInit(() => []);
const cell = 30, gap = 8, columns = 24;
const WIDTH = window.innerWidth - 2 * gap;
const column = (WIDTH + gap) / columns;

const name = (target, metric) => {
  const legend = target.legendFormat;
  if (legend && legend !== '__auto') return legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? '');
  const labels = Object.entries(metric).filter(([key]) => key !== '__name__').map(([key, value]) => `${key}="${value}"`);
  return labels.length ? `{${labels.join(', ')}}` : target.expr;
};

// An answer of Prometheus as the frames that Grafana's data source makes of it.
function frames(panel) {
  const made = [];
  for (const target of panel.targets ?? []) {
    const answer = answers[panel.id]?.[target.refId];
    if (!answer?.result) continue;
    if (target.format === 'table') {
      const labels = [...new Set(answer.result.flatMap((each) => Object.keys(each.metric)))].filter((key) => key !== '__name__').sort();
      const value = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
      made.push(toDataFrame({ refId: target.refId, fields: [
        { name: 'Time', type: FieldType.time, config: {}, values: answer.result.map((each) => each.value[0] * 1000) },
        ...labels.map((key) => ({ name: key, type: FieldType.string, config: {}, values: answer.result.map((each) => each.metric[key] ?? '') })),
        { name: value, type: FieldType.number, config: {}, values: answer.result.map((each) => Number(each.value[1])) },
      ] }));
      continue;
    }
    for (const each of answer.result) {
      const samples = each.values ?? [each.value];
      const at = new Map(samples.filter(([, value]) => value !== 'NaN').map(([time, value]) => [time, Number(value)]));
      const times = each.values ? [] : [samples[0][0] * 1000];
      const values = each.values ? [] : [Number(samples[0][1])];
      if (each.values) for (let time = start; time <= end; time += step) { times.push(time * 1000); values.push(at.get(time) ?? null); }
      made.push(toDataFrame({ refId: target.refId, name: name(target, each.metric), fields: [
        { name: 'Time', type: FieldType.time, config: { interval: step * 1000 }, values: times },
        { name: 'Value', type: FieldType.number, labels: each.metric, config: { displayNameFromDS: name(target, each.metric) }, values },
      ] }));
    }
  }
  return made;
}

// Overrides as Grafana applies them, for the properties that the dashboards use.
function configured(list, panel) {
  const config = panel.fieldConfig;
  const ready = applyFieldOverrides({
    data: list, fieldConfig: { defaults: config.defaults, overrides: [] }, replaceVariables: (text) => text, theme, timeZone: 'utc',
    fieldConfigRegistry: new FieldConfigOptionsRegistry(() => []),
  });
  for (const frame of ready) for (const [index, field] of frame.fields.entries()) {
    const shown = getFieldDisplayName(field, frame, ready);
    field.config = field.type === FieldType.time ? { ...field.config } : { ...structuredClone({ ...config.defaults, links: undefined }), ...field.config, links: undefined };
    for (const { matcher, properties } of config.overrides ?? []) {
      const pattern = matcher.id === 'byRegexp' ? new RegExp(matcher.options.replace(/^\/|\/$/g, '')) : null;
      if (pattern ? !pattern.test(shown) : matcher.options !== shown) continue;
      for (const { id, value } of properties) {
        if (id.startsWith('custom.')) field.config.custom = { ...field.config.custom, [id.slice(7)]: value };
        else field.config[id] = value;
      }
    }
    field.state = { ...field.state, seriesIndex: list.length > 1 ? ready.indexOf(frame) : index };
    field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
  }
  return ready;
}

const organized = (list, panel) => {
  let frame = list[0];
  if (!frame) return null;
  if (list.length > 1) {
    // `merge`: rows with equal labels become one.
    const rows = new Map();
    const keys = list[0].fields.filter((field) => field.type === FieldType.string).map((field) => field.name);
    for (const each of list) for (let row = 0; row < each.length; row++) {
      const by = keys.map((key) => each.fields.find((field) => field.name === key)?.values[row] ?? '').join('\0');
      const kept = rows.get(by) ?? {};
      for (const field of each.fields) kept[field.name] = field.values[row];
      rows.set(by, kept);
    }
    const fields = [...new Map(list.flatMap((each) => each.fields).map((field) => [field.name, field])).values()];
    frame = toDataFrame({ fields: fields.map(({ name, type }) => ({ name, type, config: {}, values: [...rows.values()].map((row) => row[name] ?? null) })) });
  }
  const { excludeByName, indexByName, renameByName } = panel.transformations.find(({ id }) => id === 'organize').options;
  const fields = frame.fields.filter((field) => !excludeByName[field.name])
    .sort((a, b) => (indexByName[a.name] ?? 99) - (indexByName[b.name] ?? 99))
    .map((field) => ({ ...field, name: renameByName[field.name] ?? field.name, config: {}, state: null }));
  const order = panel.options.sortBy?.[0];
  let made = toDataFrame({ fields });
  if (order) made = data.sortDataFrame(made, fields.findIndex((field) => field.name === order.displayName), order.desc);
  return made;
};

const Empty = ({ panel }) => (
  <div style={{ display: 'grid', placeItems: 'center', height: '100%', color: theme.colors.text.secondary }}>
    {panel.fieldConfig.defaults.noValue ?? 'No data'}
  </div>
);

function Series({ panel, width, height }) {
  const list = configured(frames(panel), panel);
  if (!list.length) return <Empty panel={panel} />;
  return (
    <TimeSeries frames={list} structureRev={1} timeRange={range} timeZone="utc" width={width} height={height} legend={panel.options.legend} options={panel.options} />
  );
}

function values(panel) {
  return getFieldDisplayValues({
    fieldConfig: { defaults: { ...panel.fieldConfig.defaults, links: undefined }, overrides: [] }, reduceOptions: panel.options.reduceOptions, replaceVariables: (text) => text, theme,
    data: configured(frames(panel), panel), timeZone: 'utc', sparkline: panel.options.graphMode === 'area',
  }).map((each, index) => ({ ...each, display: { ...each.display, title: frames(panel)[index]?.name } }));
}

function Stat({ panel, width, height }) {
  const all = values(panel);
  if (!frames(panel).length) return <Empty panel={panel} />;
  return (
    <VizRepeater getValues={() => all} source={{}} width={width} height={height} orientation={panel.options.orientation} autoGrid
      renderValue={({ value, width, height, count }) => (
        <BigValue value={value.display} sparkline={value.sparkline} count={count} width={width} height={height} theme={theme} colorMode={panel.options.colorMode} graphMode={panel.options.graphMode}
          textMode={panel.options.textMode} justifyMode={panel.options.justifyMode} wideLayout />
      )} />
  );
}

function Bars({ panel, width, height }) {
  const all = values(panel);
  if (!frames(panel).length) return <Empty panel={panel} />;
  // All bars share one scale, as in Grafana.
  const most = Math.max(1, ...all.map((each) => each.display.numeric));
  return (
    <VizRepeater getValues={() => all} getAlignmentFactors={data.getDisplayValueAlignmentFactors} source={{}} width={width} height={height} orientation="horizontal" minVizHeight={16} maxVizHeight={300} itemSpacing={8}
      renderValue={({ value, width, height, alignmentFactors }) => (
        <BarGauge value={value.display} field={{ ...value.field, min: 0, max: most }} text={{}} display={value.view?.getFieldDisplayProcessor(0)} width={width} height={height} orientation="horizontal" theme={theme}
          itemSpacing={8} displayMode={panel.options.displayMode} showUnfilled alignmentFactors={alignmentFactors} />
      )} />
  );
}

function Cells({ panel, width, height }) {
  const frame = organized(frames(panel), panel);
  if (!frame || !frame.length) return <Empty panel={panel} />;
  const [ready] = configured([frame], panel);
  return <TableNG data={ready} width={width} height={height} showTypeIcons={false} enablePagination={false} cellHeight="sm" theme={theme} timeRange={range} />;
}

// Grafana's heatmap is not among its packages: a cell a bucket and step, coloured by its count.
function Heat({ panel, width, height }) {
  const result = answers[panel.id]?.A?.result ?? [];
  const rows = result.map((each) => ({ le: Number(each.metric.le.replace('+Inf', 'Infinity')), at: new Map(each.values.map(([t, v]) => [t, Number(v)])) })).sort((a, b) => a.le - b.le);
  const times = []; for (let time = start; time <= end; time += step) times.push(time);
  if (!rows.length) return <Empty panel={panel} />;
  const counts = rows.map((row, y) => times.map((time) => Math.max(0, (row.at.get(time) ?? 0) - (y ? rows[y - 1].at.get(time) ?? 0 : 0))));
  const most = Math.max(...counts.flat(), 1e-9), format = getValueFormat(panel.options.yAxis.unit);
  const left = 64, bottom = 20, inner = { w: width - left - 8, h: height - bottom - 4 }, w = inner.w / times.length, h = inner.h / rows.length;
  const oranges = (share) => { const stops = [[127, 39, 4], [217, 72, 1], [253, 141, 60], [253, 208, 162], [255, 245, 235]]; const x = share * 4, i = Math.min(3, Math.floor(x)), f = x - i; return `rgb(${stops[i].map((c, k) => Math.round(c + (stops[i + 1][k] - c) * f))})`; };
  const label = (le) => (Number.isFinite(le) ? formattedValueToString(format(le)) : '+Inf');
  const every = Math.ceil(14 / h), ticks = 5;
  return (
    <svg width={width} height={height} style={{ fontSize: 12, fontFamily: theme.typography.fontFamily }} fill={theme.colors.text.primary}>
      {counts.map((line, y) => line.map((count, x) => count > 0 && <rect key={`${x}.${y}`} x={left + x * w} y={4 + (rows.length - 1 - y) * h} width={Math.max(1, w - 1)} height={Math.max(1, h - 1)} fill={oranges(Math.sqrt(count / most))} />))}
      {rows.map((row, y) => y % every === 0 && <text key={y} x={left - 6} y={4 + (rows.length - y) * h - h / 2 + 4} textAnchor="end">{label(row.le)}</text>)}
      {Array.from({ length: ticks }, (_, i) => <text key={i} x={left + (inner.w * i) / ticks} y={height - 4}>{new Date((start + ((end - start) * i) / ticks) * 1000).toISOString().slice(11, 19)}</text>)}
    </svg>
  );
}

const kinds = { timeseries: Series, stat: Stat, bargauge: Bars, table: Cells, heatmap: Heat };

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const at = { position: 'absolute', left: gap + x * column, top: 8 + y * (cell + gap) + 44, width: w * column - gap, height: h * (cell + gap) - gap };
  if (panel.type === 'row') return <div style={{ ...at, fontSize: 16, fontWeight: 500, lineHeight: '30px' }}>⌄ {panel.title}</div>;
  const Kind = kinds[panel.type];
  return (
    <div style={at} id={`panel-${panel.id}`}>
      <PanelChrome title={panel.title.replace(/\$\w+/g, 'All')} description={panel.description} width={at.width} height={at.height} padding="md">
        {(width, height) => <Kind panel={panel} width={width} height={height} />}
      </PanelChrome>
    </div>
  );
}

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { console.error('panel failed', this.props.title, error.stack); }
  render() { return this.state.error ? <pre>{this.props.title}: {String(this.state.error.stack)}</pre> : this.props.children; }
}

function Shown() {
  const bottom = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h));
  document.body.style.background = theme.colors.background.canvas;
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'relative', height: bottom * (cell + gap) + 60, color: theme.colors.text.primary, fontFamily: theme.typography.fontFamily }}>
        <div style={{ padding: '10px 8px', display: 'flex', gap: 16, alignItems: 'baseline' }}>
          <b style={{ fontSize: 18 }}>{board.title}</b>
          {board.templating.list.map((v) => <span key={v.name} style={{ fontSize: 12, border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '3px 8px' }}>{v.label} <b style={{ marginLeft: 6 }}>{v.type === 'datasource' ? v.label : 'All'}</b></span>)}
        </div>
        {board.panels.map((panel) => <Guard key={panel.id} title={panel.title}><Panel panel={panel} /></Guard>)}
      </div>
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('root')).render(<Shown />);
