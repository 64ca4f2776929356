// The whole day at a glance: gamma by strike and time, the price and zero gamma over it.
import { number } from './format.js'
import { Plot, asTable, colours, isNarrow, note } from './plot.js'

const AXIS = 64
const FOOT = 20

export class HeatChart {
  constructor(figure, day, heat) {
    this.day = day
    this.heat = heat
    this.plot = new Plot(figure.querySelector('.plot'), (...given) => this.draw(...given))
    this.tell = asTable(figure, ['Strike', 'Gamma now', 'Half an hour ago'], () => this.rows(), () => this.summary())
    day.onChange(() => this.plot.dirty())
  }

  /** The prices at both edges: the day's range, with the walls where they are near it, and room around. */
  range() {
    const { bars, strikes, last, live } = this.day
    const all = bars.slice(0, last + 1).concat(live ? [live[1]] : []).filter(Boolean)
    if (!all.length || strikes.length < 2) return null
    let low = Math.min(...all.map((bar) => bar[2]))
    let high = Math.max(...all.map((bar) => bar[1]))
    const near = Math.max(high - low, (strikes[1] - strikes[0]) * 8)
    const put = this.day.newest('put') ?? low
    const call = this.day.newest('call') ?? high
    low = Math.min(low, Math.max(put, low - near))
    high = Math.max(high, Math.min(call, high + near))
    const room = Math.max((high - low) * 0.12, (strikes[1] - strikes[0]) * 3)
    return [Math.max(strikes[0], low - room), Math.min(strikes.at(-1), high + room)]
  }

  draw(context, width, height, pointer) {
    const range = this.range()
    if (!range) return note(context, width, height, 'No gamma yet.')
    const [low, high] = range
    const [plotWidth, plotHeight] = [width - AXIS, height - FOOT]
    const { buckets, last, zero } = this.day
    const colour = colours()
    const x = (bucket) => (bucket / buckets) * plotWidth
    const y = (price) => ((high - price) / (high - low)) * plotHeight
    this.heat.draw(context, 0, buckets, low, high, plotWidth, plotHeight)
    context.save()
    context.beginPath()
    context.rect(0, 0, plotWidth, plotHeight)
    context.clip()
    line(context, upTo(last), (n) => this.day.bars[n]?.[3], x, y, colour.ink, 1.2, [])
    line(context, upTo(last), (n) => zero[n], x, y, colour.zero, 1.2, [4, 3])
    context.restore()
    context.fillStyle = colour.mute
    context.textAlign = 'left'
    const step = [1, 2, 5, 10, 25, 50, 100].find((wide) => (high - low) / wide < plotHeight / 30) ?? 200
    for (let price = Math.ceil(low / step) * step; price < high; price += step) {
      if (y(price) > 7) context.fillText(number(price, 0), plotWidth + 8, y(price))
    }
    context.textAlign = 'center'
    for (let n = 60; n < buckets; n += isNarrow() ? 180 : 60) context.fillText(this.day.clock(n), x(n), height - 8)
    if (pointer && pointer[0] < plotWidth && pointer[1] < plotHeight) {
      this.drawCell(context, pointer, low, high, plotWidth, plotHeight, colour)
    }
  }

  drawCell(context, [left, top], low, high, plotWidth, plotHeight, colour) {
    const { strikes, buckets, cells, scale, last } = this.day
    const bucket = Math.floor((left / plotWidth) * buckets)
    const price = high - (top / plotHeight) * (high - low)
    const k = Math.round((price - strikes[0]) / (strikes[1] - strikes[0]))
    if (bucket > last || strikes[k] == null) return
    const gamma = (cells[bucket * strikes.length + k] / 127) * (scale[bucket] ?? 0)
    const text = `${this.day.clock(bucket, true)}  ${number(strikes[k], 0)}  ${number(gamma, 1)}`
    context.textAlign = 'left'
    context.strokeStyle = colour.panel
    context.lineWidth = 4
    context.strokeText(text, 6, 10)
    context.fillStyle = colour.ink
    context.fillText(text, 6, 10)
  }

  gammaAt(bucket, k) {
    const { strikes, cells, scale } = this.day
    return bucket < 0 ? null : (cells[bucket * strikes.length + k] / 127) * (scale[bucket] ?? 0)
  }

  rows() {
    const range = this.range()
    if (!range) return []
    const found = []
    this.day.strikes.forEach((strike, k) => {
      if (strike < range[0] || strike > range[1]) return
      const values = [this.gammaAt(this.day.last, k), this.gammaAt(this.day.last - 60, k)]
      found.unshift([number(strike, 0), ...values.map((value) => number(value, 1))])
    })
    return found
  }

  summary() {
    const { ticker, last, strikes } = this.day
    if (last < 0 || !strikes.length) return `${ticker}: no gamma yet.`
    let sum = 0
    let greatest = 0
    strikes.forEach((_, k) => {
      const gamma = this.gammaAt(last, k)
      sum += gamma
      if (Math.abs(gamma) > Math.abs(this.gammaAt(last, greatest))) greatest = k
    })
    const sign = sum < 0 ? 'negative' : 'positive'
    return `${ticker} at ${this.day.clock(last)}: gamma is ${sign} in sum, greatest at ${number(strikes[greatest], 0)}.`
  }
}

const upTo = (last) => Array.from({ length: last + 1 }, (_, n) => n)

const line = (context, buckets, valueAt, x, y, ink, width, dash) => {
  context.strokeStyle = ink
  context.lineWidth = width
  context.setLineDash(dash)
  context.beginPath()
  let isOpen = false
  for (const n of buckets) {
    const value = valueAt(n)
    if (value == null) isOpen = false
    else {
      if (isOpen) context.lineTo(x(n + 1), y(value))
      else context.moveTo(x(n + 1), y(value))
      isOpen = true
    }
  }
  context.stroke()
  context.setLineDash([])
}
