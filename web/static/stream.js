// The line to the server: everything at first, then what changes; after a break the gap is fetched before it goes on.
import { ofDesk } from './desks.js'

const RETRY_MS = 1000
const SILENT_MS = 25000 // the server says something at least every 15 s

export class Stream {
  /**
   * @param day whose buckets are followed.
   * @param handlers by kind of message; a kind may carry the ticker behind a colon, which is cut off.
   * @param {(isUp: boolean) => void} onLink called when the line comes up or goes down.
   * @param {() => Promise<void>} catchUp fetches what was missed.
   * @param {() => void} onWhole called when the line has told all that is known.
   */
  constructor(day, handlers, onLink, catchUp, onWhole) {
    Object.assign(this, { day, handlers, onLink, catchUp, onWhole })
    this.bytes = 0
    document.addEventListener('visibilitychange', () => (document.hidden ? this.close() : this.open()))
  }

  /** Close the line: a hidden page gives its connection back, of which a browser has six a host. */
  close() {
    this.source?.close()
    this.source = null
    clearTimeout(this.timer)
  }

  /** Listen, and fetch what is missing meanwhile. */
  async open() {
    this.close()
    const turn = (this.turn = Symbol('turn'))
    if (!document.hidden) this.listen()
    try {
      await this.catchUp()
    } catch {
      if (turn === this.turn) this.lose()
    }
  }

  listen() {
    const { ticker, last, grid } = this.day
    const source = new EventSource(ofDesk(`/events?ticker=${ticker}&since=${last}&grid=${grid}`))
    this.source = source
    source.onopen = () => {
      this.onLink(true)
      this.watch()
    }
    source.onerror = () => source === this.source && this.lose()
    source.addEventListener('alive', () => this.watch())
    source.addEventListener('whole', () => this.onWhole())
    source.addEventListener('day', (event) => this.takeDay(event))
    for (const kind of Object.keys(this.handlers)) {
      const name = kind.endsWith(':') ? kind + ticker : kind
      source.addEventListener(name, (event) => {
        this.heard(event)
        this.handlers[kind](JSON.parse(event.data))
      })
    }
  }

  heard(event) {
    this.bytes += event.data.length
    this.watch()
  }

  async takeDay(event) {
    this.heard(event)
    const news = JSON.parse(event.data)
    if (news.ticker !== this.day.ticker || this.day.take(news)) return
    try {
      await this.day.load()
    } catch {
      this.lose()
    }
  }

  /** Take the line for lost when nothing comes for too long. */
  watch() {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.lose(), SILENT_MS)
  }

  lose() {
    this.close()
    this.onLink(false)
    this.timer = setTimeout(() => this.open(), RETRY_MS)
  }
}
