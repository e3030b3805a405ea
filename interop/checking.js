/**
 * Runs checks one after the other, says which hold, and ends at the first that does not. Words in common: a fresh name, and
 * waiting.
 */

const { once } = require('node:events')
const { randomUUID } = require('node:crypto')
const net = require('node:net')
const { setTimeout: sleep } = require('node:timers/promises')
const { inspect, isDeepStrictEqual } = require('node:util')

/** A check that takes longer hangs. */
const CHECK_SECONDS_MAX = 120

const checks = []
/** What is known besides when a check fails. */
let evidence = () => ''

function showWhenFailing(known) {
  evidence = known
}

/** A check is a sentence, and what fails by throwing where the sentence is false. */
function check(sentence, action) {
  checks.push({ sentence, action })
}

/** A name that nothing else in the cluster carries. */
const fresh = word => `${word}-${randomUUID().slice(0, 8)}`

/** The numbers from `first` up to `end`, which is left out. */
const range = (first, end) => Array.from({ length: end - first }, (_, place) => first + place)

function equal(found, expected, what) {
  if (!isDeepStrictEqual(found, expected)) {
    throw new Error(`${what}: found ${shorten(found)}, expected ${shorten(expected)}`)
  }
}

function shorten(value) {
  const text = inspect(value, { depth: 6, breakLength: Infinity })
  return text.length < 600 ? text : `${text.slice(0, 600)} ...`
}

/** Asks again until the answer is true, and returns it. What is asked for is a text, or what makes one when it did not come. */
async function eventually(question, what, seconds = 30) {
  const until = Date.now() + seconds * 1000
  while (Date.now() < until) {
    const answer = await question()
    if (answer) return answer
    await sleep(20)
  }
  throw new Error(`not within ${seconds} s: ${typeof what === 'function' ? what() : what}`)
}

/** The error with which an action fails. */
async function refusal(action) {
  try {
    await action()
  } catch (error) {
    return error
  }
  throw new Error('not refused')
}

/** Only a broker that was started for this run may be killed, and can be. */
const mayBeKilled = process.env.BROKER_MAY_BE_KILLED !== undefined

/** Lets the broker be killed with -9 and started again, and returns once it is dead: an idle connection to it ends then. */
async function kill(bootstrap) {
  const [host, port] = bootstrap.split(':')
  const idle = net.connect(Number(port), host)
  await once(idle, 'connect')
  const closed = new Promise(resolve => idle.on('close', resolve).on('error', () => {}).resume())
  console.log('kill the broker')
  await closed
}

/** Works as long as the broker lives, and `more` times after its death. */
async function whileKilled(bootstrap, more, work) {
  let alive = true
  const death = kill(bootstrap).finally(() => (alive = false))
  for (let left = more; alive || left > 0; left -= alive ? 0 : 1) await work()
  await death
}

async function run() {
  for (const [passed, { sentence, action }] of checks.entries()) {
    const started = Date.now()
    const hanging = setTimeout(() => end(passed, sentence, new Error('it hangs')), CHECK_SECONDS_MAX * 1000)
    try {
      await action()
    } catch (fault) {
      end(passed, sentence, fault)
    }
    clearTimeout(hanging)
    console.log(`ok     ${sentence} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
  }
  console.log(`${checks.length} passed, 0 failed`)
  process.exit(0)
}

function end(passed, sentence, fault) {
  console.error(evidence())
  console.error(fault)
  console.log(`FAILED ${sentence}: ${fault.message}\n${passed} passed, 1 failed`)
  process.exit(1)
}

module.exports = { check, equal, eventually, fresh, mayBeKilled, range, refusal, run, showWhenFailing, sleep, whileKilled }
