// Numbers, times and words as the page writes them: a true minus, tabular figures, New York's clock.
const MINUS = '\u2212'

const fixed = (value, digits) =>
  Math.abs(value).toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })

/** A price or an amount: `5,890.06`; an en dash for what is not known. */
export const number = (value, digits = 2) =>
  value == null ? '–' : (value < 0 ? MINUS : '') + fixed(value, digits)

/** Money with its sign, always: `+418.10`. */
export const money = (value, digits = 2) =>
  value == null ? '–' : (value < 0 ? MINUS : '+') + fixed(value, digits)

/** A share as percent: `39 %`. */
export const percent = (share) => (share == null ? '–' : `${Math.round(share * 100)} %`)

/** The clock of an ISO instant as the server wrote it (New York): `09:46:00`, or `09:46`. */
export const clock = (iso, length = 8) => (iso ? iso.slice(11, 11 + length) : '–')

/** A code for people: `no_progress` becomes `no progress`. */
export const words = (code) => (code ? code.replaceAll('_', ' ').toLowerCase() : '–')

/** Milliseconds with their unit: `0.3 ms`, `1.2 s`. */
export const duration = (ms) => (ms == null ? '–' : ms < 1000 ? `${number(ms, 1)} ms` : `${number(ms / 1000, 1)} s`)

/** How old a price is, where it is old (`old_s` of the market): ` (3 min old)`, else nothing. */
export const age = (seconds) =>
  seconds == null ? '' : ` (${seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`} old)`

/** Which colour a figure has, as a class; the sign says it too. */
export const tone = (value) => (value == null || value === 0 ? '' : value < 0 ? 'down' : 'up')

/** Write a text where it has changed, and nowhere else. */
export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text
}

/** `1 position`, `2 positions`. */
export const count = (n, noun) => `${n} ${noun}${n === 1 ? '' : 's'}`
