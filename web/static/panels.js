// The tables and lists: rows keep their place, and only a text that has changed is written.
import { badge, own } from './desks.js'
import { clock, count, duration, money, number, percent, setText, tone, words } from './format.js'
import { pairs } from './strip.js'

const $ = (id) => document.getElementById(id)

/** Fill a table: `cells` gives, for an item, an array of [text, class, why, span]; rows are kept by `key`. */
const fill = (body, items, key, cells) => {
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]))
  items.forEach((item, at) => {
    const name = String(key(item, at))
    let row = known.get(name)
    known.delete(name)
    if (!row) {
      row = document.createElement('tr')
      row.dataset.key = name
    }
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null)
    cells(item).forEach(([text, kind, why, span], k) => {
      const cell = row.cells[k] ?? row.insertCell()
      if (span) cell.colSpan = span
      setText(why ? buttonIn(cell, why) : cell, text)
      if (cell.className !== (kind ?? '')) cell.className = kind ?? ''
    })
  })
  for (const row of known.values()) row.remove()
  const box = body.closest('.scroll')
  if (box) told(box.parentElement, items.length)
}

/** Note that a panel knows what it shows, and whether that is something. */
const told = (panel, n) => {
  panel.classList.add('told')
  panel.classList.toggle('filled', n > 0)
}

/** The button of a cell that shows the chain of what the row is about. */
const buttonIn = (cell, why) => {
  const button = cell.firstElementChild ?? cell.appendChild(document.createElement('button'))
  if (button.dataset.why !== why) button.dataset.why = why
  return button
}

export const showPositions = (positions) => {
  setText($('positions-count'), positions.length ? String(positions.length) : '')
  const [body] = document.querySelector('#positions table').tBodies
  const lines = positions.flatMap((position) => [
    [position.trade_id, '', positionCells(position)],
    [`${position.trade_id} more`, 'more', [[more(position), '', undefined, 8]]],
  ])
  fill(body, lines, ([key]) => key, ([, , cells]) => cells)
  lines.forEach(([, kind], at) => (body.rows[at].className = kind))
  showBook(positions)
}

const positionCells = (p) => [
  [p.contract, '', p.order_ref], [p.status === 'pending' ? `(${p.qty})` : String(p.qty)], [number(p.entry_price), 'wide'],
  [number(p.bid)], [number(p.ask)], [money(p.current_pnl), tone(p.current_pnl)],
  [p.wanted_exit ? `${EXITS[p.wanted_exit] ?? words(p.wanted_exit)} now` : p.status === 'pending' ? 'entry works' : nearest(p.nearest, ''), 'wide text'],
  [p.nearest && !p.wanted_exit ? percent(p.nearest.left) : '', 'wide'],
]

const EXITS_SHOWN = 3
const OLD_S = 5 // a quote of this age is said to be old

/** What else is to be known of a position: its greeks, its structure, its nearest exits, a quote that has grown old. */
const more = ({ greeks, exits, quote_age_s: age, structure_id: structure, structure_pnl: pnl }) => [
  age > OLD_S && `quote ${duration(1000 * age)} old`,
  greeks && `delta ${money(greeks.delta, 0)} (${money(greeks.delta_dollars, 0)} $), gamma ${money(greeks.gamma, 1)}, theta ${money(greeks.theta, 0)} $ a day, vega ${money(greeks.vega, 0)} $`,
  structure && `all legs ${money(pnl)} $`,
  (structure ? exits : exits.slice(0, EXITS_SHOWN)).map((exit) => `${nearest(exit)} (${percent(exit.left)} left)`).join(', '),
].filter(Boolean).join(' · ')

const EXITS = { underlying_stop: 'spot stop', eod: 'day end', position_loss: 'joint loss', assignment_risk: 'assignment', disaster_stop: 'last stop', blind: 'no quotes' }

/** An exit and where it happens; the column of the table has no room for whose price that is. */
const nearest = (exit, ticker = exit?.ticker ?? '') => {
  if (!exit) return '–'
  const price = `${ticker} ${number(exit.level)}`.trim()
  const where = exit.pnl != null ? `${money(exit.pnl, 0)} $` : exit.level != null ? price : clock(exit.at, 5)
  return `${EXITS[exit.reason] ?? words(exit.reason)} ${where}`
}

/**
 * The greeks of the whole book; those of a single position stand beside it. Shares are those of one underlying, so over
 * several only what is in dollars is summed. A sum that lacks a part is not known.
 */
const showBook = (positions) => {
  const held = positions.filter((position) => position.status !== 'pending')
  const sum = (of, name) => {
    const parts = of.map(({ greeks }) => greeks?.[name] ?? null)
    return parts.includes(null) ? null : parts.reduce((total, part) => total + part, 0)
  }
  const tickers = [...new Set(held.map(({ ticker }) => ticker))]
  $('book').hidden = held.length < 2
  pairs($('book'), [
    ...tickers.map((ticker) => [ticker, held.filter((position) => position.ticker === ticker)]).flatMap(([ticker, of]) => [
      [`${ticker} delta`, money(sum(of, 'delta'), 0), `shares of ${ticker}`],
      [`${ticker} gamma`, money(sum(of, 'gamma'), 1), `shares of ${ticker} for each dollar of its price`],
    ]),
    ['Delta $', money(sum(held, 'delta_dollars'), 0), 'delta times the price of each underlying'],
    ['Theta $ a day', money(sum(held, 'theta'), 0)], ['Vega $', money(sum(held, 'vega'), 0)],
  ])
}

export const showTrades = (trades) => {
  const today = trades.filter((trade) => trade.trade_date === trades[0].trade_date)
  const sum = today.reduce((total, trade) => total + trade.final_pnl, 0)
  const n = new Set(today.map((trade) => trade.structure_id ?? trade.id)).size // the legs of a structure are one trade
  setText($('trades-count'), n ? `${n} today, ${money(sum)} net` : '')
  fill($('trades').tBodies[0], trades, (trade) => `${trade.id}/${trade.exit_time}`, (trade) => [
    [clock(trade.exit_time)], [trade.contract, 'text', trade.alert_id ?? undefined], [String(trade.qty)], [number(trade.entry_price), 'wide'],
    [number(trade.exit_price), 'wide'], [trade.closed_by, 'text long'],
    [money(trade.final_pnl), tone(trade.final_pnl)],
  ])
}

const arrow = (direction) => (direction < 0 ? '▼' : '▲')

export const showAlerts = (alerts) => {
  fill($('alerts').tBodies[0], alerts, (alert) => alert.alert_id, (alert) => [
    [clock(alert.at)], [`${arrow(alert.direction)} ${alert.ticker} ${words(alert.kind)}`, 'text', alert.alert_id],
    [number(alert.price), 'wide'], [words(alert.became ?? 'being decided'), 'text faint'],
    [alert.outcome ?? '–', 'text faint'],
  ])
}

export const showShadows = (alerts) => {
  fill($('shadows').tBodies[0], alerts, (alert) => alert.alert_id, (alert) => [
    [clock(alert.at)], [`${arrow(alert.direction)} ${alert.ticker} ${words(alert.kind)}`, 'text', alert.alert_id],
    [number(alert.price)], [alert.outcome ?? '–', 'text faint'],
  ])
}

/** How many reached their target first, with the n that it stands on and Wilson's bounds. */
export const showRates = (rates) => {
  for (const [place, isShadow] of [['alerts-count', false], ['shadows-count', true]]) {
    setText($(place), rates.filter((rate) => rate.is_shadow === isShadow).map(rateWords).join('; '))
  }
}

const rateWords = ({ kind, n, wins, lower, upper }) =>
  n ? `${words(kind)}: target first ${wins} of ${n} (${percent(lower)} to ${percent(upper)})` : `${words(kind)}: none resolved yet`

export const showFills = (fills) => {
  setText($('fills-count'), fills.length ? String(fills.length) : '')
  fill($('fills').tBodies[0], fills, (row, at) => `${fills.length - at}`, (row) => [
    [clock(row.at)], [row.contract ?? row.order_ref, 'text', row.order_ref], [`${words(row.side)}${row.is_exit ? ', exit' : ''}`, 'text'],
    [String(row.qty)], [number(row.price)], [number(row.slippage)], [number(row.fee)],
  ])
}

export const showGates = ({ counts, refusals }) => {
  const { accepted = 0, shadow_signal: shadows = 0, ...others } = counts
  const refused = Object.entries(others)
  const total = refused.reduce((sum, [, n]) => sum + n, 0)
  setText($('gates-count'), `${total} refused, ${accepted} accepted${shadows ? `, ${count(shadows, 'shadow')} not to be traded` : ''}`)
  $('gate-counts').replaceChildren(...refused.map(([code, n]) => {
    const item = document.createElement('li')
    item.textContent = `${words(code)} ${n}`
    return item
  }))
  fill($('refusals').tBodies[0], refusals, (row) => `${row.alert_id}/${row.at}`, (row) => [
    [clock(row.at)], [`${row.ticker} ${words(row.kind)}`, 'text', row.alert_id], [words(row.because), 'text'],
    [row.text, 'text long faint'],
  ])
}

export const showActors = ({ rows, conflated, rss_mb: memory, uptime_s: uptime, why_unknown: why }) => {
  const up = rows.filter((row) => row.is_up).length
  const restarts = rows.reduce((sum, row) => sum + row.restarts, 0)
  const facts = [`${up} of ${rows.length} up`, count(restarts, 'restart')]
  if (memory != null) facts.push(`${memory} MB`, `up ${Math.floor(uptime / 60)} min`)
  if (conflated) facts.push(`${count(conflated, 'price')} overtaken by newer ones`)
  setText($('actors-count'), why ?? facts.join(', '))
  fill($('actors').tBodies[0], treeOf(rows), (row) => row.name, (row) => [
    [`${row.depth ? '\u2003└ ' : ''}${row.shown}${row.is_up ? '' : ' is down'}`, row.is_up ? 'text' : 'text bad'],
    [row.mail == null ? '' : String(row.mail)], [row.p99_ms == null ? '' : duration(row.p99_ms)],
    [row.restarts ? String(row.restarts) : '', row.restarts ? 'bad' : ''],
  ])
}

/** The actors as a tree of two levels: the first part of the name, then those that share it. */
const treeOf = (rows) => {
  const groups = new Map()
  for (const row of rows) {
    const kind = row.name.split(':')[0]
    groups.set(kind, [...(groups.get(kind) ?? []), row])
  }
  return [...groups].flatMap(([kind, members]) => {
    if (members.length === 1) return [{ ...members[0], shown: members[0].name, depth: 0 }]
    const head = {
      name: `${kind}:`, shown: kind, depth: 0, is_up: true, mail: members.reduce((sum, row) => sum + row.mail, 0),
      p99_ms: null, restarts: 0,
    }
    return [head, ...members.map((row) => ({ ...row, shown: row.name.slice(kind.length + 1), depth: 1 }))]
  })
}

export const showForces = (reading) => {
  const alignment = reading.alignment == null ? 'too few are sure' : `alignment ${money(reading.alignment)}`
  setText($('forces-name'), `${reading.ticker} ${clock(reading.at)}, ${alignment}`)
  const list = $('forces')
  if (list.children.length !== reading.forces.length) {
    list.replaceChildren(...reading.forces.map(() => {
      const item = document.createElement('li')
      const ruler = document.createElement('div')
      ruler.className = 'ruler'
      ruler.setAttribute('aria-hidden', 'true')
      ruler.append(document.createElement('i'), document.createElement('s'))
      item.append(document.createElement('span'), ruler, document.createElement('span'))
      return item
    }))
  }
  reading.forces.forEach(({ name, score, confidence }, k) => {
    const [label, ruler, value] = list.children[k].children
    setText(label, words(name))
    setText(value, confidence ? `${money(score)}, ${percent(confidence)} sure` : 'not known')
    const wide = Math.abs(score) * 50
    Object.assign(ruler.firstElementChild.style, {
      left: `${score < 0 ? 50 - wide : 50}%`, width: `${wide}%`, opacity: String(0.25 + 0.75 * confidence),
      background: `var(--${score < 0 ? 'down' : 'up'})`,
    })
    ruler.lastElementChild.style.left = '50%'
  })
}

export const showWeeks = (weeks) => {
  fill($('weeks').tBodies[0], weeks, (week) => week.monday, (week) => [
    [week.monday, 'text'], [String(week.trades)], [week.trades ? percent(week.wins / week.trades) : '–'],
    [percent(week.fill_rate)], [number(week.fees)], [money(week.net_pnl), tone(week.net_pnl)],
  ])
}

/** The whole life of the installation in a sentence. */
export const showLifetime = (sums) => {
  const { since, starts, positions, alerts, kills, interventions, disconnects, rows } = sums
  const { broker_disconnects: lost, broker_breaks: breaks } = sums
  const facts = [
    count(starts, 'start'), count(positions, 'position'), count(alerts, 'alert'), count(kills, 'kill'),
    count(interventions, 'intervention'), `${count(disconnects, 'break')} of the feed survived`,
    `${count(lost, 'break')} of the broker’s`, `${number(rows, 0)} rows`,
  ]
  showBreaks(lost, breaks)
  setText($('lifetime'), since ? `Since ${since.slice(0, 10)}: ${facts.join(', ')}.` : '')
}

/** The losses of the order session: when, why, for how long. */
const showBreaks = (n, breaks) => {
  $('breaks').hidden = !n
  setText($('breaks').firstElementChild, n === 1 ? '1 loss of the order session' : `${n} losses of the order session`)
  $('breaks').lastElementChild.replaceChildren(...breaks.map(({ at, cause, lasted_s: lasted }) => {
    const item = document.createElement('li')
    const time = document.createElement('time')
    time.textContent = `${at.slice(0, 10)} ${clock(at)}`
    item.append(time, `${cause}; ${lasted == null ? 'it did not come back in its run' : `back after ${duration(1000 * lasted)}`}`)
    return item
  }))
}

/** What lies around the day: pairs of indices against what is usual, and the derived series of each symbol. */
export const showContext = ({ sessions_before: n, correlations, derived }) => {
  setText($('context-count'), `${count(n, 'session')} before this one`)
  fill($('correlations').tBodies[0], correlations, (row) => row.pair, (row) => [
    [row.pair, 'text'], [number(row.now)], [row.usual == null ? '–' : `${number(row.usual)} ± ${number(row.deviation)}`],
    [row.is_broken ? 'broken' : row.now == null ? 'not known' : row.usual == null ? 'no baseline yet' : 'as usual', row.is_broken ? 'text bad' : 'text faint'],
  ])
  const known = derived.filter(({ value }) => value != null)
  fill($('derived').tBodies[0], known, (row) => `${row.symbol} ${row.name}`, (row) => [
    [row.symbol, 'text'], [words(row.name), 'text faint'], [typeof row.value === 'string' ? words(row.value) : shown(row)],
  ])
}

const shown = ({ name, value }) =>
  /^(gap|iwm_spy_rotation|qqq_against)/.test(name) ? `${money(100 * value)} %` : number(value, name.endsWith('ratio') ? 4 : 0)

export const showAlarms = (alarms) => {
  const standing = alarms.filter((alarm) => !alarm.is_over && alarm.severity !== 'info').length
  setText($('alarms-count'), alarms.length ? (standing === alarms.length ? String(standing) : `${standing}, ${alarms.length - standing} over`) : '')
  $('alarms').replaceChildren(...alarms.map(({ at, key, severity, text, is_over: isOver, desk }) => {
    const item = document.createElement('li')
    const time = document.createElement('time')
    time.textContent = clock(at)
    item.append(time)
    if (desk) item.append(badge(own.kinds[desk] ?? 'desk'), ` ${desk}: `)
    item.append(isOver ? `over: ${text}` : severity === 'info' ? text : `${severity}: ${text}`)
    item.title = `In the runbook: ${key}`
    if (isOver) item.className = 'faint'
    else if (severity === 'high' || severity === 'critical') item.className = 'bad'
    return item
  }))
  told($('alarms').parentElement, alarms.length)
}
