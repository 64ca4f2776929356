// Puts the page together: one day, its charts, the panels, the line to the server.
import { Actions, notice } from './actions.js'
import { showAlarmCount, showLink, showMarket, showMoney, showStatus } from './bar.js'
import { Day } from './day.js'
import { ofDesk, settle, showDesks } from './desks.js'
import { setText } from './format.js'
import { Heat } from './heat.js'
import { HeatChart } from './heat-chart.js'
import { Options, remember, remembered } from './options.js'
import {
  showActors, showAlarms, showAlerts, showContext, showFills, showForces, showGates, showLifetime, showPositions, showRates, showShadows, showTrades, showWeeks,
} from './panels.js'
import { PnlChart } from './pnl-chart.js'
import { PriceChart } from './price-chart.js'
import { Question } from './question.js'
import { setNow, showAccount, showPipeline, showUnderlyings } from './strip.js'
import { Stream } from './stream.js'
import { offerWhy, refreshWhy } from './timeline.js'

const TELL_EVERY_MS = 5000 // how often the sentences beside the charts are written anew
const SUM_AFTER_MS = 10000 // how long after a change the sum of everything on record is fetched anew

const $ = (id) => document.getElementById(id)
const json = async (url) => {
  const response = await fetch(ofDesk(url))
  if (!response.ok) throw new Error(`${url}: ${response.status}`)
  return response.json()
}

/** The minutes that the chart shows: on a phone at first fewer, so that a candle is still one. */
const windowChosen = remembered('window', matchMedia('(max-width: 900px)').matches ? '60' : '150')

const day = new Day(remembered('ticker', 'SPX'))
const heat = new Heat(day)
const price = new PriceChart($('chart'), day, heat, Number(remembered('minutes', '1')), Number(windowChosen))
const through = new HeatChart($('heat'), day, heat)
const result = new PnlChart($('money'), day)
const charts = [price, through, result]
const actions = new Actions()
const question = new Question()
const options = new Options(() => {
  heat.repaint()
  for (const chart of charts) chart.plot.dirty()
})
let fillKnown = null // the newest fill when the page last looked

const handlers = {
  status: (status) => {
    showStatus(status)
    actions.show(status)
  },
  market: (market) => {
    showMarket(market, day.ticker)
    showUnderlyings(market)
    setNow(market.at)
  },
  pipeline: showPipeline,
  performance: (money) => {
    showMoney(money)
    result.take(money)
  },
  positions: (positions) => {
    showPositions(positions)
    if (positions.length) offerWhy(positions[0].order_ref)
  },
  trades: (trades) => {
    showTrades(trades)
    if (trades.length) offerWhy(trades[0].alert_id)
    refreshWhy()
  },
  alerts: showAlerts,
  shadows: showShadows,
  rates: showRates,
  fills: (fills) => {
    showFills(fills)
    const newest = fills.length ? `${fills[0].at}/${fills[0].order_ref}/${fills.length}` : ''
    if (fillKnown != null && newest !== fillKnown) options.ring()
    fillKnown = newest
  },
  gates: showGates,
  weeks: (weeks) => {
    showWeeks(weeks)
    sumSoon()
  },
  account: showAccount,
  actors: showActors,
  context: showContext,
  desks: showDesks,
  alarms: (alarms) => {
    showAlarms(alarms)
    showAlarmCount(alarms)
  },
  'marks:': (marks) => {
    day.marks = marks
    price.plot.dirty()
  },
  'reading:': showForces,
}

/** Fetch the sum of everything on record: it can wait, or be missing. */
const sum = () => json('/api/lifetime').then(showLifetime, () => {})

let summing = null

/** Fetch the sum again a while after the ledgers have changed, so that it agrees with the other counts. */
const sumSoon = () => {
  summing ??= setTimeout(() => {
    summing = null
    sum()
  }, SUM_AFTER_MS)
}

/** Fetch what is missing; nothing of it is a reason not to follow what comes. */
const catchUp = async () => {
  const [hello, money] = await Promise.all([json('/api/hello'), json('/api/performance').catch(() => null), loadDay()])
  actions.setToken(hello.token)
  question.offer(hello.questions)
  if (offer(hello.tickers)) {
    stream.open() // of the ticker that is followed in the other's stead
    return
  }
  sum()
  if (money) {
    result.load(money) // else the ledgers are not read yet: the stream tells when they are
    showMoney(money)
  }
  note('fetched')
}

const due = new Set(['fetched', 'told']) // before the page shows all that is known

/** Note that a part of what is known has come; with the last, the page is ready as soon as its charts are drawn. */
const note = (part) => {
  if (!due.delete(part) || due.size) return
  requestAnimationFrame(() => {
    performance.mark('ready')
    document.documentElement.dataset.ready = 'yes'
  })
}

/** Write the sentences and tables beside the charts anew. */
const tell = () => charts.forEach((chart) => chart.tell())

const loadDay = async () => {
  try {
    await day.load()
  } catch (error) {
    if (!String(error).endsWith('404')) throw error // there is no session yet: the stream says when there is
  }
  tell()
}

/** Offer the tickers that are followed; true where the one that was remembered is none of them any more. */
const offer = (tickers) => {
  const select = $('ticker')
  if (select.options.length === tickers.length) return false
  select.replaceChildren(...tickers.map((ticker) => new Option(ticker)))
  const isGone = !tickers.includes(day.ticker)
  if (isGone) day.choose(tickers[0])
  select.value = day.ticker
  return isGone
}

const stream = new Stream(day, handlers, showLink, catchUp, () => note('told'))

$('ticker').addEventListener('change', (event) => {
  day.choose(event.target.value)
  remember('ticker', day.ticker)
  setText($('ticker-name'), day.ticker)
  stream.open()
})
$('minutes').value = String(price.width / 2)
$('minutes').addEventListener('change', (event) => {
  remember('minutes', event.target.value)
  price.setWidth(Number(event.target.value))
})
$('window').value = windowChosen
$('window').addEventListener('change', (event) => {
  remember('window', event.target.value)
  price.setWindow(Number(event.target.value))
})
setInterval(tell, TELL_EVERY_MS)

// What the page came with: the bar stands before anything is fetched.
const { performance: money, ...first } = JSON.parse($('first').textContent)
if (!settle(first.status)) notice('There is no such desk here: this is the first one. Choose another above.')
for (const [kind, told] of Object.entries(first)) handlers[kind](told)
if (money) showMoney(money)
stream.open()
