// Candles, gamma behind them, levels, entries and exits, and the gamma profile: all on one price axis.
import { number } from './format.js'
import { Plot, asTable, colours, note } from './plot.js'

const AXIS = 64 // width of the price axis
const FOOT = 22 // height of the time axis
const GAP = 10 // between the candles and the profile
const LABEL = 18 // height of a label on the price axis
const LEAST = 20 // candles on the screen at least
const YOUNG = 45 // candles that a young day has room for
const HEAT_SHADE = 0.42 // of the heat behind the candles
const STEPS = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100]

export class PriceChart {
  /** @param {number} minutes width of a candle @param {number} window minutes shown */
  constructor(figure, day, heat, minutes, window) {
    this.day = day
    this.heat = heat
    this.width = minutes * 2
    this.setShown(window)
    const box = figure.querySelector('.plot')
    this.plot = new Plot(box, (...given) => this.draw(...given))
    this.tell = asTable(figure, ['Time', 'Open', 'High', 'Low', 'Close', 'Zero gamma', 'Call wall', 'Put wall'],
      () => this.rows(), () => this.summary())
    day.onChange(() => this.plot.dirty())
    this.listen(box)
  }

  setWidth(minutes) {
    this.width = minutes * 2
    this.setWindow(this.window)
  }

  setWindow(minutes) {
    this.setShown(minutes)
    this.plot.dirty()
  }

  /** Show this many minutes. */
  setShown(minutes) {
    this.window = minutes
    this.offset = 0
    this.shown = Math.max(LEAST, Math.round(minutes / (this.width / 2)))
  }

  listen(box) {
    box.addEventListener('keydown', (event) => {
      const moves = { ArrowLeft: [0, 10], ArrowRight: [0, -10], '+': [-20, 0], '=': [-20, 0], '-': [20, 0] }
      const move = event.key === 'End' ? [0, -1e6] : event.key === 'Home' ? [0, 1e6] : moves[event.key]
      if (!move) return
      event.preventDefault()
      this.move(this.shown + move[0], this.offset + move[1])
    })
    box.addEventListener('wheel', (event) => {
      if (!event.deltaY) return
      event.preventDefault()
      this.move(Math.round(this.shown * (event.deltaY > 0 ? 1.12 : 0.89)), this.offset)
    }, { passive: false })
    let held = null
    box.addEventListener('pointerdown', (event) => {
      held = [event.clientX, this.offset]
      box.setPointerCapture(event.pointerId)
    })
    box.addEventListener('pointerup', () => (held = null))
    box.addEventListener('pointercancel', () => (held = null))
    box.addEventListener('pointermove', (event) => {
      if (held) this.move(this.shown, held[1] + Math.round((event.clientX - held[0]) / this.perCandle))
    })
  }

  move(shown, offset) {
    const all = Math.floor(this.day.end / this.width) + 1
    this.shown = Math.max(LEAST, Math.min(this.day.buckets / this.width, shown))
    this.offset = Math.max(0, Math.min(all - LEAST, offset))
    this.plot.dirty()
  }

  /** What is seen: the candles, the prices at both edges, and where they lie. */
  layout(width, height) {
    const profile = Math.min(150, width * 0.2)
    const plotWidth = width - AXIS - profile - GAP
    const plotHeight = height - FOOT
    const last = Math.floor(this.day.end / this.width) - this.offset
    const shown = Math.min(this.shown, Math.max(YOUNG, last + 1)) // a young day fills more than its share
    const first = last - shown + 1
    const candles = this.day.candles(this.width, first).filter((candle) => candle.n <= last)
    if (!candles.length) return null
    const start = Math.max(0, first)
    this.perCandle = plotWidth / (shown + 4)
    let low = Math.min(...candles.map((candle) => candle.low))
    let high = Math.max(...candles.map((candle) => candle.high))
    const margin = Math.max((high - low) * 0.18, high * 0.0004)
    low -= margin
    high += margin
    return {
      candles, low, high, start, plotWidth, plotHeight, profile, width, height,
      x: (n) => (n - start) * this.perCandle + this.perCandle / 2,
      y: (price) => ((high - price) / (high - low)) * plotHeight,
    }
  }

  draw(context, width, height, pointer) {
    const seen = this.layout(width, height)
    if (!seen) return note(context, width, height, 'No prices yet: the first bucket closes half a minute after the open.')
    const colour = colours()
    context.save()
    context.beginPath()
    context.rect(0, 0, seen.plotWidth, seen.plotHeight)
    context.clip()
    context.globalAlpha = HEAT_SHADE
    const buckets = (seen.plotWidth / this.perCandle) * this.width
    this.heat.draw(context, seen.start * this.width, buckets, seen.low, seen.high, seen.plotWidth, seen.plotHeight)
    context.globalAlpha = 1
    this.drawGrid(context, seen, colour)
    this.drawLevels(context, seen, colour)
    this.drawCandles(context, seen, colour)
    this.drawMarks(context, seen, colour)
    context.restore()
    this.drawTimes(context, seen, colour)
    this.drawProfile(context, seen, colour)
    this.drawPrices(context, seen, colour)
    if (pointer) this.drawCross(context, seen, colour, pointer)
  }

  drawGrid(context, { low, high, y, plotWidth, height }, colour) {
    const step = stepOf(high - low, height)
    context.fillStyle = colour.line
    for (let price = Math.ceil(low / step) * step; price < high; price += step) {
      context.fillRect(0, Math.round(y(price)), plotWidth, 0.5)
    }
  }

  /** Zero gamma and the walls, each as it was at the time. */
  drawLevels(context, { candles, x, y, plotWidth }, colour) {
    const lines = [['zero', colour.zero, [5, 4]], ['call', colour.up, []], ['put', colour.down, []]]
    for (const [level, ink, dash] of lines) {
      context.strokeStyle = ink
      context.lineWidth = level === 'zero' ? 1.5 : 1
      context.setLineDash(dash)
      context.beginPath()
      let before = null
      for (const { n } of candles) {
        const value = this.day[level][Math.min(this.day.last, (n + 1) * this.width - 1)]
        if (value == null) before = null
        else {
          const at = level === 'zero' ? y(value) : Math.round(y(value)) + 0.5
          if (before == null) context.moveTo(x(n), at)
          else {
            if (level !== 'zero' && before !== at) context.moveTo(x(n), at) // a wall is here or there, never between
            context.lineTo(x(n), at)
          }
          before = at
        }
      }
      if (before != null && level !== 'zero' && !this.offset) context.lineTo(plotWidth, before)
      context.stroke()
    }
    context.setLineDash([])
  }

  /** Hollow where the price rose, solid where it fell: colour means gamma and money only. */
  drawCandles(context, { candles, x, y }, colour) {
    const body = Math.max(1, Math.floor(this.perCandle * 0.66))
    context.lineWidth = 1
    for (const { n, open, high, low, close } of candles) {
      const isUp = close >= open
      const centre = Math.round(x(n)) + 0.5
      const top = y(Math.max(open, close))
      const tall = Math.max(1, y(Math.min(open, close)) - top)
      context.strokeStyle = context.fillStyle = isUp ? colour.ink : colour.mute
      context.beginPath()
      context.moveTo(centre, y(high))
      context.lineTo(centre, y(low))
      context.stroke()
      if (isUp && body > 2) {
        context.fillStyle = colour.panel
        context.fillRect(centre - body / 2, top, body, tall)
        context.strokeRect(Math.round(centre - body / 2) + 0.5, top, body - 1, tall)
      } else context.fillRect(centre - body / 2, top, body, tall)
    }
  }

  drawMarks(context, { candles, x, y, plotHeight }, colour) {
    const at = new Map(candles.map((candle) => [candle.n, candle]))
    context.textAlign = 'center'
    context.lineJoin = 'round'
    for (const [seconds, kind, text] of this.day.marks) {
      const candle = at.get(Math.floor((seconds - this.day.t0) / this.day.stepS / this.width))
      if (!candle) continue
      const isEntry = kind === 'entry'
      const centre = Math.max(18, x(candle.n))
      const place = isEntry ? y(candle.low) + 12 : y(candle.high) - 12
      const middle = Math.max(24, Math.min(plotHeight - 26, place))
      context.fillStyle = colour.ink
      context.strokeStyle = colour.panel
      context.lineWidth = 2
      path(context, (isEntry ? TRIANGLE : DIAMOND).map(([dx, dy]) => [centre + dx, middle + dy]))
      context.stroke()
      context.fill()
      context.lineWidth = 3
      const below = middle + (isEntry ? 17 : -13)
      context.strokeText(text, centre, below)
      context.fillText(text, centre, below)
    }
  }

  drawTimes(context, { candles, x, height }, colour) {
    const minutes = this.width / 2
    const every = [5, 10, 15, 30, 60, 120].find((step) => (step / minutes) * this.perCandle > 62) ?? 120
    context.fillStyle = colour.mute
    context.textAlign = 'center'
    for (const { n } of candles) {
      if ((n * minutes) % every === 0 && x(n) > 16) context.fillText(this.day.clock(n * this.width), x(n), height - 10)
    }
  }

  /** The gamma of the newest bucket by strike: to the right where positive, to the left where negative. */
  drawProfile(context, { low, high, y, plotWidth, plotHeight, profile }, colour) {
    const { strikes, cells, last } = this.day
    const middle = plotWidth + GAP + profile / 2
    context.fillStyle = colour.mute
    context.fillRect(middle, 0, 1, plotHeight)
    if (strikes.length < 2 || last < 0) return
    const step = strikes[1] - strikes[0]
    const tall = Math.max(1, (step / (high - low)) * plotHeight - 1.5)
    const column = cells.subarray(last * strikes.length, (last + 1) * strikes.length)
    const greatest = Math.max(1, ...column.filter((_, k) => strikes[k] > low && strikes[k] < high).map(Math.abs))
    context.save()
    context.beginPath()
    context.rect(plotWidth + GAP, 0, profile, plotHeight)
    context.clip()
    strikes.forEach((strike, k) => {
      if (strike < low - step || strike > high + step) return
      const long = (column[k] / greatest) * (profile / 2)
      context.fillStyle = long > 0 ? colour.up : colour.down
      context.fillRect(long > 0 ? middle : middle + long, y(strike) - tall / 2, Math.abs(long), tall)
    })
    context.restore()
  }

  /** The price axis; what lies out of sight sticks to the edge with an arrow. */
  drawPrices(context, { low, high, y, plotHeight, width, height }, colour) {
    const levels = [
      [this.day.newest('call'), 'C', colour.up], [this.day.newest('put'), 'P', colour.down],
      [this.day.newest('zero'), 'Z', colour.zero], [this.day.price, '', colour.ink],
    ]
    const labels = levels.filter(([value]) => value != null).map(([value, letter, ink]) => ({
      ink,
      value,
      at: Math.max(LABEL / 2 + 1, Math.min(plotHeight - LABEL / 2 - 1, y(value))),
      text: letter ? `${value > high ? '↑' : value < low ? '↓' : ''}${short(value)} ${letter}` : number(value),
    }))
    spread(labels, plotHeight)
    const step = stepOf(high - low, height)
    context.textAlign = 'left'
    context.fillStyle = colour.mute
    for (let price = Math.ceil(low / step) * step; price < high; price += step) {
      const at = y(price)
      if (at > 8 && labels.every((label) => Math.abs(label.at - at) > 15)) {
        context.fillText(number(price, step < 1 ? 2 : 0), width - AXIS + 8, at)
      }
    }
    for (const { ink, at, text } of labels) {
      context.fillStyle = ink
      context.beginPath()
      context.roundRect(width - AXIS + 2, at - LABEL / 2, AXIS - 2, LABEL, 3)
      context.fill()
      context.fillStyle = colour.panel
      context.fillText(text, width - AXIS + 6, at + 0.5)
    }
  }

  drawCross(context, { candles, low, high, x, start, plotWidth, plotHeight, width }, colour, [left, top]) {
    if (left > plotWidth || top > plotHeight) return
    const wanted = start + Math.round((left - this.perCandle / 2) / this.perCandle)
    const candle = candles.reduce((best, c) => (Math.abs(c.n - wanted) < Math.abs(best.n - wanted) ? c : best))
    context.fillStyle = colour.mute
    context.fillRect(x(candle.n), 0, 0.7, plotHeight)
    context.fillRect(0, top, width - AXIS, 0.7)
    context.textAlign = 'left'
    context.fillStyle = colour.ink
    const { open, close } = candle
    const text = `${this.day.clock(candle.n * this.width)}  O ${number(open)}  H ${number(candle.high)}  ` +
      `L ${number(candle.low)}  C ${number(close)}`
    context.strokeStyle = colour.panel
    context.lineWidth = 4
    context.strokeText(text, 8, 10)
    context.fillText(text, 8, 10)
    const price = high - (top / plotHeight) * (high - low)
    context.fillStyle = colour.panel
    context.fillRect(width - AXIS + 2, top - LABEL / 2, AXIS - 2, LABEL)
    context.fillStyle = colour.ink
    context.fillText(number(price, 1), width - AXIS + 8, top)
  }

  rows() {
    return this.day.candles(this.width, 0).reverse().map(({ n, open, high, low, close }) => {
      const bucket = Math.min(this.day.last, (n + 1) * this.width - 1)
      const prices = [open, high, low, close, this.day.zero[bucket], this.day.call[bucket], this.day.put[bucket]]
      return [this.day.clock(n * this.width), ...prices.map((price) => number(price))]
    })
  }

  summary() {
    const { ticker, price } = this.day
    if (price == null) return `${ticker}: no prices yet.`
    const zero = this.day.newest('zero')
    const side = zero == null ? '' : `, ${price > zero ? 'above' : 'below'} zero gamma at ${number(zero)}`
    const walls = `call wall ${number(this.day.newest('call'))}, put wall ${number(this.day.newest('put'))}`
    return `${ticker} ${number(price)} at ${this.day.clock(this.day.end)}${side}; ${walls}.`
  }
}

const TRIANGLE = [[0, -7], [6, 4], [-6, 4]]
const DIAMOND = [[0, -6], [6, 0], [0, 6], [-6, 0]]

const path = (context, points) => {
  context.beginPath()
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)))
  context.closePath()
}

const stepOf = (range, height) => STEPS.find((step) => range / step < height / 42) ?? 200

const short = (price) => number(price, Number.isInteger(price) || price >= 1000 ? 0 : 2)

/** Push labels apart where they would overlap, the higher price above, also of those that are out of sight. */
const spread = (labels, height) => {
  labels.sort((a, b) => b.value - a.value)
  for (let k = 1; k < labels.length; k++) labels[k].at = Math.max(labels[k].at, labels[k - 1].at + LABEL + 1)
  let room = height - LABEL / 2 - 1
  for (let k = labels.length - 1; k >= 0; k--) {
    labels[k].at = Math.min(labels[k].at, room)
    room = labels[k].at - LABEL - 1
  }
}
