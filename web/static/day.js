// One ticker's day: bars by 30 s bucket, levels, and gamma by strike; loaded once, then kept up to date by the stream.
import { ofDesk } from './desks.js'

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))

const fetched = async (url) => {
  const response = await fetch(ofDesk(url))
  if (!response.ok) throw new Error(`${url}: ${response.status}`)
  return response
}

export class Day {
  constructor(ticker) {
    this.listeners = []
    this.choose(ticker)
  }

  clear() {
    Object.assign(this, {
      session: null, t0: 0, stepS: 30, buckets: 0, grid: 0, last: -1, strikes: [], bars: [], zero: [], call: [],
      put: [], scale: [], live: null, marks: [], cells: new Int8Array(0),
    })
  }

  /** Be called with the first and the last bucket whose cells have changed (-1: none, a price alone). */
  onChange(listener) {
    this.listeners.push(listener)
  }

  /** Show another ticker, of which nothing is known yet. */
  choose(ticker) {
    this.clear()
    this.ticker = ticker
    this.loading = null // what is under way is of the other one
  }

  /** Fetch what is missing, once at a time; what the stream tells meanwhile is fetched after it. */
  load() {
    if (this.loading) return this.loading
    const mine = this.fetchAll().finally(() => this.loading === mine && (this.loading = null))
    return (this.loading = mine)
  }

  async fetchAll() {
    const { ticker } = this
    do {
      this.told = null
      await this.fetchOnce()
    } while (ticker === this.ticker && this.told && !this.has(this.told))
  }

  /** Whether the buckets up to the last one of a message are known. */
  has(news) {
    return news.grid === this.grid && news.last <= this.last
  }

  /** Fetch everything at first and after a new session or other strikes, else the gap. */
  async fetchOnce() {
    const { last: since, ticker } = this
    const [answer, heat] = await Promise.all(
      ['day', 'heat'].map((what) => fetched(`/api/${what}?ticker=${ticker}&since=${since}`)),
    )
    const [found, cells] = [await answer.json(), new Int8Array(await heat.arrayBuffer())]
    if (ticker !== this.ticker) return // another was chosen meanwhile: it is loaded by itself
    const isOther = found.session !== this.session || found.grid !== this.grid || found.last < since
    if (isOther && since >= 0) this.clear()
    if (Number(heat.headers.get('x-grid')) !== found.grid || (isOther && since >= 0)) return this.fetchOnce()
    if (isOther) this.begin(found)
    this.marks = found.marks
    this.append(since, found, cells.subarray(0, (found.last - since) * this.strikes.length))
  }

  begin(found) {
    this.clear()
    this.session = found.session
    this.t0 = found.t0
    this.stepS = found.step_s
    this.buckets = found.buckets
    this.grid = found.grid
    this.strikes = found.strikes
    this.cells = new Int8Array(found.buckets * found.strikes.length)
  }

  /** Take a message of the stream; false where something between is missing, which `load` fetches. */
  take(news) {
    if (this.loading) {
      this.told = news
      return true
    }
    if (news.is_gap) return this.has(news)
    if (news.grid !== this.grid || news.since > this.last) return false
    const cells = new Int8Array(bytesOf(news.cells).buffer)
    const known = this.last - news.since
    if (known > 0) {
      for (const name of ['bars', 'zero', 'call', 'put', 'scale']) news[name] = news[name].slice(known)
    }
    this.append(Math.max(this.last, news.since), news, cells.subarray(Math.max(0, known) * this.strikes.length))
    return true
  }

  append(since, found, cells) {
    for (const name of ['bars', 'zero', 'call', 'put', 'scale']) {
      found[name].forEach((value, k) => (this[name][since + 1 + k] = value))
    }
    if (cells.length) this.cells.set(cells, (since + 1) * this.strikes.length)
    this.last = Math.max(this.last, found.last)
    this.live = found.live && found.live[0] > this.last ? found.live : null
    for (const listener of this.listeners) listener(found.last > since ? since + 1 : -1, found.last)
  }

  /** The newest bucket that has a price. */
  get end() {
    return this.live ? this.live[0] : this.last
  }

  /** The newest price, or null. */
  get price() {
    if (this.live) return this.live[1][3]
    for (let n = this.last; n >= 0; n--) if (this.bars[n]) return this.bars[n][3]
    return null
  }

  /** The newest of a level (`zero`, `call`, `put`), or null. */
  newest(level) {
    for (let n = this.last; n >= 0; n--) if (this[level][n] != null) return this[level][n]
    return null
  }

  /** Candles of `width` buckets each, from the one numbered `from` to that of the newest price. */
  candles(width, from) {
    const found = []
    for (let k = Math.max(0, from); k * width <= this.end; k++) {
      let candle = null
      for (let n = k * width; n < (k + 1) * width; n++) {
        const bar = this.live && n === this.live[0] ? this.live[1] : this.bars[n]
        if (!bar) continue
        candle = candle
          ? { ...candle, high: Math.max(candle.high, bar[1]), low: Math.min(candle.low, bar[2]), close: bar[3] }
          : { n: k, open: bar[0], high: bar[1], low: bar[2], close: bar[3] }
      }
      if (candle) found.push(candle)
    }
    return found
  }

  /** New York's clock at the start of a bucket: `09:46`. */
  clock(bucket, withSeconds = false) {
    this.openS ??= secondsOfDay(this.t0)
    const s = this.openS + bucket * this.stepS
    const parts = [s / 3600, (s / 60) % 60, ...(withSeconds ? [s % 60] : [])]
    return parts.map((part) => String(Math.floor(part)).padStart(2, '0')).join(':')
  }
}

const NEW_YORK = new Intl.DateTimeFormat('en-GB', {
  timeZone: 'America/New_York', hour: '2-digit', minute: '2-digit', hourCycle: 'h23',
})

const secondsOfDay = (epochS) => {
  const [hours, minutes] = NEW_YORK.format(epochS * 1000).split(':').map(Number)
  return hours * 3600 + minutes * 60
}
