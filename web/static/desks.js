// Which of several desks this page is of, the way to the others, and a line for each, so that none is out of sight.
import { count, money, setText, tone, words } from './format.js'

const $ = (id) => document.getElementById(id)

/** The desk of this page where there are several, and the kind of money of each; of one alone both are empty. */
export const own = { desk: '', kinds: {} }

/** An address of the server about the desk of this page. */
export const ofDesk = (url) => (own.desk ? `${url}${url.includes('?') ? '&' : '?'}desk=${encodeURIComponent(own.desk)}` : url)

/** `real (live money)`: a desk as a confirmation names it. */
export const named = (desk) => `${desk} (${MONEY[own.kinds[desk]] ?? 'money of a kind that is not known'})`

const MONEY = { live: 'LIVE money', paper: 'paper money', sim: 'simulated money' }

/** Take which desk the server has told; the address says it from now on. False where another one was asked for. */
export const settle = (status) => {
  if (!status || status.desks.length < 2) return true
  const asked = new URLSearchParams(location.search).get('desk')
  own.desk = status.desk
  own.kinds = { ...own.kinds, [status.desk]: status.kind }
  document.documentElement.dataset.kind = status.kind
  if (asked !== status.desk) history.replaceState(null, '', pageOf(status.desk))
  return !asked || asked === status.desk
}

const pageOf = (desk) => `/?desk=${encodeURIComponent(desk)}`

/** The kind of a desk's money as a badge. */
export const badge = (kind) => {
  const made = document.createElement('span')
  made.className = 'kind'
  made.dataset.kind = kind
  made.textContent = kind
  return made
}

/** The way to a desk's page; it is loaded anew, so that nothing of another desk is left on it. */
const link = ({ desk, kind }) => {
  const made = document.createElement('a')
  made.href = pageOf(desk)
  if (desk === own.desk) made.setAttribute('aria-current', 'page')
  made.append(badge(kind), ` ${desk}`)
  return made
}

const item = (name, child) => {
  const made = document.createElement(name)
  made.append(child)
  return made
}

export const showDesks = (lines) => {
  const [list, body] = [$('desks'), $('desk-lines').tBodies[0]]
  if (body.rows.length !== lines.length) {
    own.kinds = Object.fromEntries(lines.map(({ desk, kind }) => [desk, kind]))
    list.replaceChildren(...lines.map((line) => item('li', link(line))))
    body.replaceChildren(...lines.map((line) => {
      const row = document.createElement('tr')
      const head = item('th', link(line))
      head.scope = 'row'
      if (line.desk === own.desk) row.className = 'chosen'
      row.append(head, ...Array.from({ length: 5 }, () => document.createElement('td')))
      return row
    }))
    list.hidden = $('desk-lines').hidden = false
  }
  lines.forEach((line, k) => showLine(body.rows[k].cells, line))
}

const showLine = ([, mode, held, result, level, note], line) => {
  setText(mode, line.mode ? words(line.mode) : 'no mode yet')
  mode.className = line.is_connected ? '' : 'bad'
  setText(held, line.open_positions == null ? 'open: not known' : `${line.open_positions} open`)
  setText(result, `${money(line.total_pnl)} $`)
  result.className = tone(line.total_pnl)
  setText(level, `level ${line.kill_level ?? '–'}`)
  level.className = line.kill_level ? 'bad' : ''
  setText(note, [line.alarms && count(line.alarms, 'alarm'), line.kill_level && line.kill_reason, line.trouble].filter(Boolean).join('; '))
  note.className = line.alarms || line.trouble ? 'bad' : 'faint'
  note.title = note.textContent
}
