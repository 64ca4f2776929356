// A canvas that fits its box, is drawn when something has changed, and has a table and a sentence beside it.
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** The theme's colours by name. */
export const colours = () =>
  Object.fromEntries(
    ['up', 'down', 'zero', 'ink', 'mute', 'line', 'panel', 'danger'].map((name) => [name, css(`--${name}`)]),
  )

export const isNarrow = () => matchMedia('(max-width: 900px)').matches

export class Plot {
  /**
   * @param {HTMLElement} box what the canvas fills; it takes focus, keys and pointers.
   * @param {(context, width, height, pointer) => void} draw draws everything.
   */
  constructor(box, draw) {
    this.box = box
    this.draw = draw
    this.pointer = null
    this.canvas = document.createElement('canvas')
    this.canvas.setAttribute('aria-hidden', 'true')
    this.context = this.canvas.getContext('2d')
    box.append(this.canvas)
    new ResizeObserver(() => this.dirty()).observe(box)
    box.addEventListener('pointermove', (event) => {
      const { left, top } = box.getBoundingClientRect()
      this.pointer = [event.clientX - left, event.clientY - top]
      this.dirty()
    })
    box.addEventListener('pointerleave', () => {
      this.pointer = null
      this.dirty()
    })
  }

  /** Draw once more, with the next frame. */
  dirty() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null
      this.paint()
    })
  }

  paint() {
    const { canvas, context, box } = this
    const [width, height, scale] = [box.clientWidth, box.clientHeight, devicePixelRatio || 1]
    if (!width || !height) return
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale)
      canvas.height = Math.round(height * scale)
    }
    context.setTransform(scale, 0, 0, scale, 0, 0)
    context.clearRect(0, 0, width, height)
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`
    context.textBaseline = 'middle'
    this.draw(context, width, height, this.pointer)
  }
}

/** Write a sentence in the middle of an empty plot. */
export const note = (context, width, height, text) => {
  context.fillStyle = css('--mute')
  context.textAlign = 'center'
  context.fillText(text, width / 2, height / 2)
}

/**
 * Let a figure be shown as a table: `rows` gives arrays of texts, newest first, `summary` a sentence.
 * Returns a function that brings both up to date.
 */
export const asTable = (figure, titles, rows, summary) => {
  const button = figure.querySelector('.as-table')
  const table = figure.querySelector('table')
  const sentence = figure.querySelector('.summary')
  const plot = figure.querySelector('.plot')
  const box = table.parentElement
  table.createTHead().insertRow().append(...titles.map((title) => cell('th', title)))
  const body = table.createTBody()
  const update = () => {
    sentence.textContent = summary()
    if (box.hidden) return
    body.replaceChildren(
      ...rows().map((texts) => {
        const row = document.createElement('tr')
        row.append(...texts.map((text) => cell('td', text)))
        return row
      }),
    )
  }
  button.addEventListener('click', () => {
    box.hidden = !box.hidden
    plot.hidden = !box.hidden
    button.setAttribute('aria-pressed', String(!box.hidden))
    button.textContent = box.hidden ? 'Show as table' : 'Show as chart'
    update()
  })
  return update
}

const cell = (kind, text) => {
  const made = document.createElement(kind)
  if (kind === 'th') made.scope = 'col'
  made.textContent = text
  return made
}
