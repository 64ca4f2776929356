// The causal chain of a chosen trade, alert or refusal, as a timeline from the reading to how it ended.
import { ofDesk } from './desks.js'
import { clock, number } from './format.js'

const $ = (id) => document.getElementById(id)
const NAMES = { won: 'Closed', lost: 'Closed', fill: 'Filled' }

let chosen = null

/** Show the chain of a reference, and mark who asked for it. */
export const showWhy = async (ref, button) => {
  chosen = ref
  for (const other of document.querySelectorAll('[data-why][aria-current]')) other.removeAttribute('aria-current')
  button?.setAttribute('aria-current', 'true')
  const response = await fetch(ofDesk(`/api/why/${encodeURIComponent(ref)}`))
  const found = await response.json()
  if (chosen !== ref) return
  const steps = response.ok ? found.steps : []
  $('why-ref').textContent = response.ok ? found.title : found.detail ?? found.error
  $('why').replaceChildren(...steps.map(item))
  $('why').parentElement.classList.toggle('filled', steps.length > 0)
}

const item = ({ at, gap_s: gap, kind, text }, k) => {
  const made = document.createElement('li')
  made.className = kind
  const time = document.createElement('time')
  time.textContent = k ? since(gap) : clock(at)
  time.title = clock(at)
  const name = document.createElement('b')
  name.textContent = NAMES[kind] ?? kind[0].toUpperCase() + kind.slice(1)
  made.append(time, name, ` ${text}`)
  return made
}

const since = (seconds) => (seconds < 90 ? `+${number(seconds, 1)} s` : `+${Math.round(seconds / 60)} min`)

/** Show a chain where none is shown yet. */
export const offerWhy = (ref) => {
  if (!chosen && ref) showWhy(ref, document.querySelector(`[data-why="${CSS.escape(ref)}"]`))
}

/** Keep the chain that is shown up to date, when the ledger has moved. */
export const refreshWhy = () => {
  if (chosen) showWhy(chosen, document.querySelector('[data-why][aria-current]'))
}

document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-why]')
  if (!button) return
  await showWhy(button.dataset.why, button)
  $('why').parentElement.scrollIntoView({ block: 'nearest' }) // what was clicked may lie far below it
})
