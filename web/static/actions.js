// What a person can do: stop entries and allow them again, and close everything, each with a word of confirmation.
import { count } from './format.js'

const $ = (id) => document.getElementById(id)

export class Actions {
  constructor() {
    this.token = null
    this.status = null
    $('entries').addEventListener('click', () => (this.status?.kill_level ? this.allowEntries() : this.stopEntries()))
    $('close-all').addEventListener('click', () => this.closeAll())
  }

  /** Take the run's token, without which nothing can be done. */
  setToken(token) {
    this.token = token
    this.show(this.status)
  }

  show(status) {
    this.status = status
    const canAct = Boolean(this.token && status?.allows_actions)
    $('entries').disabled = !canAct
    $('entries').textContent = status?.kill_level ? 'Allow entries…' : 'Stop entries'
    $('close-all').disabled = !canAct
  }

  stopEntries() {
    return this.act('stop', {}, 'Entries are stopped (kill level 1). Positions stay as they are.')
  }

  async allowEntries() {
    const { kill_level: level, kill_epoch: epoch, kill_reason: why } = this.status
    const text = `Kill level ${level} is in force: ${why ?? 'no reason is on record'}. Entries are allowed again as soon as every gate agrees.`
    const reason = await ask('Allow entries?', text, 'Allow entries', true)
    if (reason != null) await this.act('start', { reason, expected_epoch: epoch }, 'Entries are allowed (kill level 0).')
  }

  async closeAll() {
    const { open_positions: n, desk, desks } = this.status
    const own = n == null ? 'whatever is open' : count(n, 'open position')
    const held = desks.length > 1 ? `whatever is open at every desk (${desks.join(', ')}; ${desk}: ${own})` : own
    const text = `This closes ${held} at market, cancels every order, and stops entries (kill level 2).`
    const reason = await ask('Close everything?', text, 'Close all', false)
    if (reason != null) await this.act('close_all', { reason }, 'Everything is being closed (kill level 2).')
  }

  async act(what, body, done) {
    tell(`${what.replaceAll('_', ' ')} …`)
    try {
      const response = await fetch(`/api/action/${what}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-zerohour-token': this.token },
        body: JSON.stringify({ ...body, command_id: `web:${crypto.randomUUID()}` }),
      })
      const answer = await response.json()
      const said = answer.detail ?? answer.error ?? response.status
      // 503: nobody answered, which is not the same as not done; the sentence says what is known.
      tell(response.ok ? done : response.status === 503 ? `No answer. ${said}` : `Not done: ${said}`)
    } catch {
      tell('No answer: the outcome is unknown. Look at the kill level and the positions before you repeat it.')
    }
  }
}

let calm = null

/** Show a line under the bar for a while. */
const tell = (text) => {
  $('notice').textContent = text
  $('notice').hidden = false
  clearTimeout(calm)
  calm = setTimeout(() => ($('notice').hidden = true), 15000)
}

/** Ask; the reason given, or null where the person thought better of it. */
const ask = (title, text, yes, needsReason) => {
  const dialog = $('ask')
  $('ask-title').textContent = title
  $('ask-text').textContent = text
  $('ask-yes').textContent = yes
  $('ask-reason').value = ''
  $('ask-reason').required = needsReason
  dialog.returnValue = 'no'
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      resolve(dialog.returnValue === 'yes' ? $('ask-reason').value : null)
    }, { once: true })
  })
}
