// What a person has chosen: theme, columns, sound; remembered by this browser and by nobody else.
const $ = (id) => document.getElementById(id)

/** A choice as it was made last, or `otherwise`. */
export const remembered = (name, otherwise) => localStorage.getItem(name) ?? otherwise

export const remember = (name, value) => localStorage.setItem(name, value)

const hiddenColumns = () => {
  try {
    return JSON.parse(remembered('hidden', '{}')) ?? {}
  } catch {
    return {} // written by somebody else
  }
}

export class Options {
  /** @param {() => void} onTheme called when the colours have changed */
  constructor(onTheme) {
    this.onTheme = onTheme
    this.tables = [...document.querySelectorAll('table[data-table]')]
    this.hidden = hiddenColumns()
    this.audio = null
    $('options').addEventListener('click', () => $('choices').showModal())
    $('theme').value = remembered('theme', '')
    $('theme').addEventListener('change', () => this.setTheme($('theme').value))
    matchMedia('(prefers-color-scheme: light)').addEventListener('change', () => this.setTheme(remembered('theme', '')))
    $('sound').checked = remembered('sound', '') === 'on'
    $('sound').addEventListener('change', () => {
      remember('sound', $('sound').checked ? 'on' : '')
      this.ring() // so that one hears what it will be
    })
    $('choices-reset').addEventListener('click', () => this.reset())
    this.list()
    this.apply()
  }

  setTheme(theme) {
    remember('theme', theme)
    const bySystem = matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark'
    document.documentElement.dataset.theme = theme || bySystem
    this.onTheme()
  }

  /** A box to tick for each column but the first of a table, which names the row. */
  list() {
    $('columns').append(...this.tables.map((table) => {
      const group = document.createElement('p')
      const name = document.createElement('b')
      name.textContent = table.dataset.table
      group.append(name)
      ;[...table.tHead.rows[0].cells].forEach((cell, k) => {
        if (k) group.append(this.box(table.dataset.table, cell.textContent))
      })
      return group
    }))
  }

  box(table, column) {
    const label = document.createElement('label')
    const box = document.createElement('input')
    label.className = 'check'
    box.type = 'checkbox'
    box.dataset.column = `${table}/${column}`
    box.addEventListener('change', () => {
      const others = (this.hidden[table] ?? []).filter((known) => known !== column)
      this.hidden[table] = box.checked ? others : [...others, column]
      remember('hidden', JSON.stringify(this.hidden))
      this.apply()
    })
    label.append(box, ` ${column}`)
    return label
  }

  apply() {
    for (const table of this.tables) {
      const hidden = new Set(this.hidden[table.dataset.table])
      ;[...table.tHead.rows[0].cells].forEach((cell, k) => {
        const isHidden = hidden.has(cell.textContent)
        table.classList.toggle(`without-${k + 1}`, isHidden)
        const box = document.querySelector(`[data-column="${CSS.escape(`${table.dataset.table}/${cell.textContent}`)}"]`)
        if (box) box.checked = !isHidden
      })
    }
  }

  reset() {
    for (const name of ['hidden', 'theme', 'sound']) localStorage.removeItem(name)
    this.hidden = {}
    $('sound').checked = false
    $('theme').value = ''
    this.setTheme('')
    this.apply()
  }

  /** Sound for a fill, where it was asked for. */
  ring() {
    if (!$('sound').checked) return
    this.audio ??= new AudioContext()
    const [tone, volume] = [this.audio.createOscillator(), this.audio.createGain()]
    const now = this.audio.currentTime
    tone.frequency.setValueAtTime(660, now)
    tone.frequency.setValueAtTime(880, now + 0.09)
    volume.gain.setValueAtTime(0.12, now)
    volume.gain.exponentialRampToValueAtTime(0.001, now + 0.3)
    tone.connect(volume).connect(this.audio.destination)
    tone.start(now)
    tone.stop(now + 0.3)
    document.documentElement.dataset.rung = String(Number(document.documentElement.dataset.rung ?? 0) + 1)
  }
}
