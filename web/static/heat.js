// Gamma by bucket and strike as a picture of one pixel a cell, drawn stretched; a new bucket writes one column.
import { css } from './plot.js'

const DARKEST = 235 // of 255, for the greatest value of a bucket
const CURVE = 0.85 // below 1: faint cells stay visible

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16))

export class Heat {
  constructor(day) {
    this.day = day
    this.size = [0, 0]
    day.onChange((from, to) => from >= 0 && this.write(from, to))
  }

  /** The colour of each cell value, as the picture's 32-bit pixels. */
  ink() {
    const [positive, negative] = [channels(css('--up')), channels(css('--down'))]
    this.colour = new Uint32Array(256)
    for (let value = -127; value < 128; value++) {
      const [red, green, blue] = value < 0 ? negative : positive
      const alpha = Math.round(DARKEST * (Math.abs(value) / 127) ** CURVE)
      this.colour[value & 255] = ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0
    }
  }

  begin() {
    const { buckets, strikes, grid, session } = this.day
    this.size = [buckets, strikes.length]
    this.made = `${session}/${grid}`
    this.picture = new OffscreenCanvas(buckets, strikes.length)
    this.context = this.picture.getContext('2d')
    this.ink()
  }

  /** Write the columns of the buckets `from` to `to`. */
  write(from, to) {
    const { buckets, strikes, cells, grid, session } = this.day
    if (!buckets || !strikes.length) return
    if (this.made !== `${session}/${grid}`) {
      this.begin()
      from = 0
    }
    const [width, height] = [to - from + 1, strikes.length]
    if (width <= 0) return
    const image = new ImageData(width, height)
    const pixels = new Uint32Array(image.data.buffer)
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        pixels[(height - 1 - y) * width + x] = this.colour[cells[(from + x) * height + y] & 255]
      }
    }
    this.context.putImageData(image, from, 0)
  }

  /** Write everything again, in the colours of the theme. */
  repaint() {
    if (!this.picture) return
    this.ink()
    this.context.clearRect(0, 0, ...this.size)
    this.write(0, this.day.last)
  }

  /** Draw the buckets from `fromBucket` on and the prices from `low` to `high` into a box. */
  draw(context, fromBucket, buckets, low, high, width, height) {
    const { strikes } = this.day
    if (!this.picture || strikes.length < 2) return
    const step = strikes[1] - strikes[0]
    const top = strikes.at(-1) + step / 2
    context.imageSmoothingEnabled = false
    context.drawImage(this.picture, fromBucket, (top - high) / step, buckets, (high - low) / step, 0, 0, width, height)
  }
}
