// The strip under the bar: the pipeline with its pulse, the underlyings, the account.
import { age, clock, number, setText } from './format.js'

const $ = (id) => document.getElementById(id)
const SIGNS = { operational: '●', degraded: '◐', down: '○' }

let stages = []
let now = null

export const showPipeline = (found) => {
  stages = found
  paint()
}

/** Take the market's clock, by which the pulse is told. */
export const setNow = (iso) => {
  now = iso
  paint()
}

const paint = () => {
  const list = $('stages')
  if (list.children.length !== stages.length) {
    list.replaceChildren(...stages.map(() => {
      const item = document.createElement('li')
      item.append(document.createElement('i'), document.createElement('b'), document.createElement('span'))
      item.firstElementChild.setAttribute('aria-hidden', 'true')
      return item
    }))
  }
  stages.forEach(({ name, state, why, last, every_s: every, detail }, k) => {
    const item = list.children[k]
    if (item.className !== state) item.className = state
    setText(item.children[0], SIGNS[state])
    setText(item.children[1], name[0].toUpperCase() + name.slice(1))
    setText(item.children[2], `${state === 'operational' ? detail : `${state}: ${why}`}${pulse(last)}`)
    item.title = `last sign at ${clock(last)}, one each ${every} s`
  })
}

/** How long ago the last sign of life was, by the market's clock. */
const pulse = (last) => {
  if (!last || !now) return ''
  const seconds = Math.max(0, Math.round((Date.parse(now) - Date.parse(last)) / 1000))
  return `, ${seconds < 100 ? `${seconds} s` : clock(last)}`
}

export const pairs = (list, items) => {
  if (list.children.length !== items.length) {
    list.replaceChildren(...items.map(() => {
      const box = document.createElement('div')
      box.append(document.createElement('dt'), document.createElement('dd'))
      return box
    }))
  }
  items.forEach(([name, value, why], k) => {
    const [term, text] = list.children[k].children
    setText(term, name)
    setText(text, value)
    list.children[k].title = why ?? ''
  })
}

export const showUnderlyings = ({ spx_price: spx, spy_price: spy, ratio, old_s: old }) => {
  pairs($('market'), [
    ['SPX', number(spx) + age(old.SPX)], ['SPY', number(spy) + age(old.SPY)], ['Ratio', number(ratio, 4), 'SPX over SPY'],
  ])
}

export const showAccount = (account) => {
  const [whole, why] = [(value) => number(value, 0), account.why_unknown]
  pairs($('account'), [
    ['', [account.account_id, account.account_class].filter(Boolean).join(' ') || 'account', why],
    ['Net liq', whole(account.net_liquidation), 'net liquidation value, USD'], ['Cash', whole(account.total_cash), 'USD'],
    ['Avail', whole(account.available_funds), 'available funds, USD'], ['Power', whole(account.buying_power), 'buying power, USD'],
  ])
}
