// A question in plain language, its answer, and the records that the answer stands on.
import { own } from './desks.js'
import { setText } from './format.js'

const $ = (id) => document.getElementById(id)
const SHOWN = 5 // questions to begin with
// An order reference or an alert id: its chain is shown under "Why".
const REF = /(ZH-\w+-[A-Z2-7]{12}(?:-(?:e|x\d+))?|\d{8}-[^\s-]+-\S+?-\d{6}-[^\s-]+-\d+)/

export class Question {
  constructor() {
    document.querySelector('#question form').addEventListener('submit', (event) => {
      event.preventDefault()
      this.ask($('question-text').value.trim())
    })
  }

  /** Offer questions to begin with. */
  offer(examples) {
    $('question-examples').replaceChildren(...examples.slice(0, SHOWN).map((text) => {
      const [item, button] = [document.createElement('li'), document.createElement('button')]
      button.textContent = text
      button.addEventListener('click', () => {
        $('question-text').value = text
        this.ask(text)
      })
      item.append(button)
      return item
    }))
  }

  async ask(text) {
    if (!text || $('question-send').disabled) return
    $('question-send').disabled = true
    show('Looking it up …', [])
    try {
      const response = await fetch('/api/ask', {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ question: text, ...(own.desk && { desk: own.desk }) }),
      })
      const found = await response.json()
      const { text: said, rests_on: rests, by } = found
      if (response.ok) show(by === 'grammar' ? said : `${said}\n(${by})`, rests)
      else show(trouble(found, response.status), [])
    } catch {
      show('No answer: the dashboard is not reached. Ask again when it is back.', [])
    }
    $('question-send').disabled = false
  }
}

const trouble = ({ error, detail }, status) => error ?? (typeof detail === 'string' ? detail : `The question was not taken (${status}).`)

const show = (text, rests) => {
  $('answer').hidden = false
  $('answer-text').replaceChildren(...linked(text))
  $('answer-rests').hidden = !rests.length
  setText($('answer-rests').firstElementChild, `Rests on ${rests.length === 1 ? 'one table' : `${rests.length} tables`}`)
  $('answer-rests').lastElementChild.replaceChildren(...rests.map((line) => {
    const item = document.createElement('li')
    item.append(...linked(line))
    return item
  }))
}

/** A text with what can be asked "why" of as buttons. */
const linked = (text) => text.split(REF).map((part, k) => {
  if (k % 2 === 0) return part
  const button = document.createElement('button')
  button.dataset.why = button.textContent = part
  return button
})
