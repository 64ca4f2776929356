// What a person can do: stop entries and allow them again, and close everything, each with a word of confirmation.
// Of several desks each is for the one that the page is of, unless the person chooses every one; the words say which.
import { named, own } from './desks.js'
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
    $('entries').textContent = status?.kill_level ? 'Allow entries…' : own.desk ? 'Stop entries…' : 'Stop entries'
    $('close-all').textContent = 'Close all…'
    for (const id of own.desk ? ['entries', 'close-all'] : []) $(id).append(' ', small(own.desk))
    $('close-all').disabled = !canAct
  }

  async stopEntries() {
    const done = 'Entries are stopped (kill level 1). Positions stay as they are.'
    if (!own.desk) return this.act('stop', {}, done)
    const text = 'No more entries (kill level 1). Positions stay, and their exits go on.'
    const found = await ask('Stop entries', () => text, 'Stop entries', { where: true, isSafe: true })
    if (found) await this.act('stop', found, done, found.desk)
  }

  async allowEntries() {
    const { kill_level: level, kill_epoch: epoch, kill_reason: why } = this.status
    const text = `Kill level ${level} is in force: ${why ?? 'no reason is on record'}. Entries are allowed again as soon as every gate agrees.`
    const found = await ask('Allow entries', () => text, 'Allow entries', { needsReason: true })
    if (found) await this.act('start', { ...found, expected_epoch: epoch }, 'Entries are allowed (kill level 0).', own.desk)
  }

  async closeAll() {
    const { open_positions: n } = this.status
    const here = (n == null ? 'whatever is open' : count(n, 'open position')) + (own.desk && ` at ${own.desk}`)
    const text = (desk) => `This closes ${desk || !own.desk ? here : 'whatever is open at every desk'} at market, cancels every order, and stops entries (kill level 2).`
    const found = await ask('Close everything', text, 'Close all', { where: true })
    if (found) await this.act('close_all', found, 'Everything is being closed (kill level 2).', found.desk)
  }

  /** Have it done; `desk` is where, of several: empty at every one, undefined where there is one alone. */
  async act(what, body, done, desk) {
    const at = own.desk ? ` ${desk ? `Desk ${named(desk)}` : 'Every desk'}: ` : ''
    notice(`${at}${what.replaceAll('_', ' ')} …`)
    try {
      const response = await fetch(`/api/action/${what}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-zerohour-token': this.token },
        body: JSON.stringify({ ...body, command_id: `web:${crypto.randomUUID()}` }),
      })
      const answer = await response.json()
      const said = answer.detail ?? answer.error ?? response.status
      // 503: nobody answered, which is not the same as not done; the sentence says what is known.
      notice(at + (response.ok ? done : response.status === 503 ? `No answer. ${said}` : `Not done: ${said}`))
    } catch {
      notice(`${at}No answer: the outcome is unknown. Look at the kill level and the positions before you repeat it.`)
    }
  }
}

let calm = null

/** Show a line under the bar for a while. */
export const notice = (text) => {
  $('notice').textContent = text
  $('notice').hidden = false
  clearTimeout(calm)
  calm = setTimeout(() => ($('notice').hidden = true), 15000)
}

const small = (text) => {
  const made = document.createElement('small')
  made.textContent = text
  return made
}

/**
 * Ask; the reason given and, of several desks, which one is meant (empty: every one), or null where the person thought
 * better of it. `textOf` says what will be done, for the desk that is meant; `where`: every one may be; `isSafe`: it
 * takes no more than a second press of Enter.
 */
const ask = (title, textOf, yes, { needsReason = false, where = false, isSafe = false }) => {
  const dialog = $('ask')
  const wording = () => {
    const desk = where ? $('ask-where').value : own.desk
    const at = !own.desk ? '' : desk ? ` at ${named(desk)}` : ' at every desk'
    $('ask-title').textContent = `${title}${at}?`
    $('ask-yes').textContent = yes + (!own.desk ? '' : desk ? ` at ${desk}` : ' at every desk')
    $('ask-text').textContent = textOf(desk)
  }
  $('ask-where-label').hidden = !(own.desk && where)
  if (own.desk) {
    const desks = Object.keys(own.kinds)
    $('ask-where').replaceChildren(new Option(named(own.desk), own.desk), new Option(`every desk: ${desks.map(named).join(', ')}`, ''))
    $('ask-where').onchange = wording
  }
  wording()
  $('ask-reason').value = ''
  $('ask-reason').required = needsReason
  dialog.returnValue = 'no'
  dialog.showModal()
  $(isSafe ? 'ask-yes' : 'ask-reason').focus()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      const reason = $('ask-reason').value
      const desk = own.desk && { desk: where ? $('ask-where').value : own.desk }
      resolve(dialog.returnValue === 'yes' ? { reason, ...desk } : null)
    }, { once: true })
  })
}
