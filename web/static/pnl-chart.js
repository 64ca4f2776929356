// The day's result through the day, with the soft and the hard stop where they are near.
import { money } from './format.js'
import { Plot, asTable, colours, isNarrow, note } from './plot.js'

const AXIS = 64
const FOOT = 18

const stepOf = (range, height) => {
  const least = range / (height / 26)
  const power = 10 ** Math.floor(Math.log10(least))
  return [1, 2, 5, 10].find((nice) => nice * power >= least) * power
}

export class PnlChart {
  constructor(figure, day) {
    this.day = day
    this.points = []
    this.stops = []
    this.plot = new Plot(figure.querySelector('.plot'), (...given) => this.draw(...given))
    this.tell = asTable(figure, ['Time', 'Profit and loss $'], () => this.rows(), () => this.summary())
  }

  /** Take the whole curve. */
  load(money_) {
    this.points = money_.curve.slice()
    this.take({ ...money_, curve: [] })
  }

  /** Take the newest point, the result of now and the stops. */
  take(money_) {
    for (const point of money_.curve) {
      const last = this.points.at(-1)
      if (!last || point[0] > last[0]) this.points.push(point)
    }
    this.now = money_.total_pnl
    this.stops = [[money_.soft_stop, 'soft stop'], [money_.hard_stop, 'hard stop']].filter(([value]) => value != null)
    this.plot.dirty()
  }

  draw(context, width, height) {
    if (!this.points.length) return note(context, width, height, 'The curve begins with the open.')
    const colour = colours()
    const [plotWidth, plotHeight] = [width - AXIS, height - FOOT]
    const values = this.points.map((point) => point[1]).concat(this.now ?? 0, 0)
    const most = Math.max(1, ...values.map(Math.abs))
    let low = Math.min(...values) - most * 0.12
    const high = Math.max(...values) + most * 0.12
    for (const [stop] of this.stops) if (stop > low * 2.5 && low < 0) low = Math.min(low, stop * 1.06)
    const seconds = this.day.buckets * this.day.stepS || 23400
    const x = (t) => ((t - this.day.t0) / seconds) * plotWidth
    const y = (value) => ((high - value) / (high - low)) * plotHeight
    context.textAlign = 'left'
    const taken = []
    const label = (value, ink) => {
      const at = Math.max(7, Math.min(plotHeight - 7, y(value)))
      if (taken.some((other) => Math.abs(other - at) < 13)) return
      taken.push(at)
      context.fillStyle = ink
      context.fillText(value ? money(value, 0) : '0', plotWidth + 8, at)
    }
    label(this.now ?? 0, this.now < 0 ? colour.down : this.now > 0 ? colour.up : colour.ink)
    for (const [stop, name] of this.stops) {
      if (stop < low) continue
      label(stop, colour.danger)
      context.fillStyle = colour.danger
      context.fillRect(0, y(stop), plotWidth, 1)
      context.fillText(name, 6, y(stop) - 8)
    }
    const step = stepOf(high - low, plotHeight)
    for (let value = Math.ceil(low / step) * step; value < high; value += step) {
      context.fillStyle = value ? colour.line : colour.mute
      context.fillRect(0, y(value), plotWidth, value ? 0.5 : 1)
      label(value, colour.mute)
    }
    this.line(context, x, y, plotWidth, colour)
    context.fillStyle = colour.mute
    context.textAlign = 'center'
    for (let n = 60; n < this.day.buckets; n += isNarrow() ? 180 : 60) {
      context.fillText(this.day.clock(n), (n / this.day.buckets) * plotWidth, height - 7)
    }
  }

  line(context, x, y, plotWidth, colour) {
    context.save()
    context.beginPath()
    context.rect(0, 0, plotWidth, y(0))
    context.clip()
    this.stroke(context, x, y, colour.up)
    context.restore()
    context.save()
    context.beginPath()
    context.rect(0, y(0), plotWidth, 9999)
    context.clip()
    this.stroke(context, x, y, colour.down)
    context.restore()
  }

  stroke(context, x, y, ink) {
    context.strokeStyle = ink
    context.lineWidth = 1.5
    context.beginPath()
    this.points.forEach(([t, value], k) => {
      if (k) context.lineTo(x(t), y(this.points[k - 1][1]))
      context.lineTo(x(t), y(value))
    })
    context.stroke()
  }

  rows() {
    return this.points.slice().reverse().map(([t, value]) => {
      return [this.day.clock((t - this.day.t0) / this.day.stepS), money(value)]
    })
  }

  summary() {
    if (!this.points.length) return 'No result yet.'
    const values = this.points.map((point) => point[1])
    return `Day ${money(this.now)}; best ${money(Math.max(...values))}, worst ${money(Math.min(...values))}.`
  }
}
