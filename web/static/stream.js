// The line to the server: everything at first, then what changes; after a break the gap is fetched before it goes on.
const RETRY_MS = 1000
const SILENT_MS = 25000 // the server says something at least every 15 s

export class Stream {
  /**
   * @param day whose buckets are followed.
   * @param handlers by kind of message; a kind may carry the ticker behind a colon, which is cut off.
   * @param {(isUp: boolean) => void} onLink called when the line comes up or goes down.
   * @param {() => Promise<void>} catchUp fetches what was missed.
   */
  constructor(day, handlers, onLink, catchUp) {
    Object.assign(this, { day, handlers, onLink, catchUp })
    this.bytes = 0
    document.addEventListener('visibilitychange', () => (document.hidden ? this.close() : this.open()))
  }

  /** Close the line: a hidden page gives its connection back, of which a browser has six a host. */
  close() {
    this.source?.close()
    this.source = null
    clearTimeout(this.timer)
  }

  /** Fetch what is missing, then listen. */
  async open() {
    this.close()
    const turn = (this.turn = Symbol('turn'))
    try {
      await this.catchUp()
    } catch {
      if (turn === this.turn) this.lose()
      return
    }
    if (turn !== this.turn || document.hidden) return
    const { ticker, last, grid } = this.day
    const source = new EventSource(`/events?ticker=${ticker}&since=${last}&grid=${grid}`)
    this.source = source
    source.onopen = () => {
      this.onLink(true)
      this.watch()
    }
    source.onerror = () => source === this.source && this.lose()
    source.addEventListener('alive', () => this.watch())
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
    if (news.ticker !== this.day.ticker || this.day.take(news) || this.isLoading) return
    this.isLoading = true
    try {
      await this.day.load()
    } catch {
      this.lose()
    } finally {
      this.isLoading = false
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
