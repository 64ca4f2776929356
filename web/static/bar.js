// The bar at the top: connection, mode, kill level, price, and the day's result on a ruler between its stops.
import { own } from './desks.js'
import { age, clock, count, money, number, setText, tone, words } from './format.js'

const $ = (id) => document.getElementById(id)
const BEYOND = 1.15 // the ruler goes a little beyond the hard stop

let status = null // as it was told last
let isUp = null // whether the line is; null before it ever was

/** Take whether the line to the server is up. */
export const showLink = (isUpNow) => {
  isUp = isUpNow
  paintLink()
  const lost = $('lost')
  if (status?.ended) return // what the line carries next says whether it goes on
  if (!isUp && lost.hidden) {
    const since = new Date().toLocaleTimeString('en-GB')
    lost.textContent = `Connection lost at ${since}. Figures below are from then. Trying again every second.`
  }
  lost.hidden = isUp
}

/** What is shown is of now only where the line is up and a supervisor speaks on it. */
const paintLink = () => {
  const { ended, is_finished: isFinished, session } = status ?? {}
  const text = isFinished ? `Finished day ${session}` : ended ? 'Ended' : isUp == null ? 'Connecting' : !isUp ? 'Lost' : own.desk ? 'Connected' : 'Live' // "live" is a kind of money there
  setText($('link').lastElementChild, text)
  $('link').classList.toggle('on', Boolean(isUp && status && !ended))
  $('link').firstElementChild.hidden = Boolean(isFinished)
}

export const showStatus = (told) => {
  status = told
  const { mode, kill_level: level, ended, is_finished: isFinished } = status
  document.documentElement.classList.toggle('finished', isFinished) // nothing can be done, and nothing is wrong
  setText($('ended'), ended ?? '')
  $('ended').hidden = !ended
  paintLink()
  setText($('mode'), ended ? 'no supervisor' : mode ? words(mode) : 'no mode yet')
  $('mode').classList.toggle('bad', !status.is_connected)
  const why = level && status.kill_reason && !own.desk ? `: ${status.kill_reason}` : ''
  setText($('kill'), `Kill level ${level ?? '–'}${why}`)
  $('kill').classList.toggle('bad', level > 0 && !ended)
  $('kill').title = level == null ? 'Not known: the supervisor has not answered for a minute.' : (status.kill_reason ?? '')
  setText($('troubles'), status.troubles.join(' '))
  $('troubles').hidden = !status.troubles.length
  const whose = own.desk ? `${own.desk} (${status.kind}) · ` : ''
  document.title = `${whose}${isFinished ? 'Finished day' : status.profile === 'demo' ? 'Demo' : status.trading_mode} · Zerohour`
}

/** Say in the bar that somebody should look, where an alarm is high or critical. */
export const showAlarmCount = (alarms) => {
  const grave = alarms.filter(({ severity, is_over: isOver }) => !isOver && (severity === 'high' || severity === 'critical')).length
  $('alarm-chip').hidden = !grave
  setText($('alarm-chip'), count(grave, 'alarm'))
}

export const showMarket = (market, ticker) => {
  setText($('ticker-name'), ticker)
  setText($('price'), `${number(market.prices[ticker])}${age(market.old_s[ticker])}`)
  setText($('clock'), `${clock(market.at)}${own.desk ? '' : ' New York'}`)
}

export const showMoney = (money_) => {
  const { total_pnl: total, hard_stop: hard, soft_stop: soft } = money_
  setText($('pnl'), money(total))
  $('pnl').className = tone(total)
  const ofHeld = money_.held_realized_pnl
  const held = ofHeld ? ` (${money(ofHeld)} of what is held)` : ''
  $('pnl-parts').title = ofHeld ? 'Fees so far, and parts closed already, of open positions; the list of trades has none of it' : ''
  setText($('pnl-parts'), `realised ${money(money_.daily_realized_pnl, ofHeld ? 2 : 0)}${held}, open ${money(money_.unrealized_pnl, 0)}`)
  const edge = Math.abs(hard ?? 1) * BEYOND
  const place = (value) => 50 + (Math.max(-1, Math.min(1, value / edge)) * 50)
  const filled = document.querySelector('#risk .ruler i')
  const [from, to] = [place(Math.min(0, total ?? 0)), place(Math.max(0, total ?? 0))]
  Object.assign(filled.style, { left: `${from}%`, width: `${to - from}%`, background: `var(--${total < 0 ? 'down' : 'up'})` })
  document.querySelector('#risk .ruler s').style.left = '50%'
  for (const [id, value, name] of [['hard', hard, 'hard stop'], ['soft', soft, 'soft stop']]) {
    $(id).hidden = value == null
    if (value == null) continue
    $(id).style.left = `${place(value)}%`
    $(id).title = `${name} ${money(value, 0)}`
  }
  const risk = $('risk')
  risk.setAttribute('aria-valuemin', String(-edge))
  risk.setAttribute('aria-valuemax', String(edge))
  risk.setAttribute('aria-valuenow', String(total ?? 0))
  const stops = hard == null ? '' : `; soft stop ${money(soft, 0)}, hard stop ${money(hard, 0)}`
  risk.setAttribute('aria-valuetext', `${money(total)} dollars${stops}`)
}
