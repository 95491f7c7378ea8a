import { Chart } from './chart.js'
import { readEvents } from './events.js'
import { pointBetween, readSample } from './metrics.js'

const pollMilliseconds = 1000
const storedKey = 'quattuor-api-key'

const find = (id) => document.getElementById(id)
const [modelField, keyField, log, ask, promptField] = ['model', 'key', 'log', 'ask', 'prompt'].map(find)
const [send, stop, status, watch, settings] = ['send', 'stop', 'status', 'watch', 'settings'].map(find)

/** Models by name, as `/v1/models` lists them. */
const models = new Map()
/** Messages so far, for models that converse. */
let conversation = []
let running

/** The answer of a route; throws the server's own words when it refuses. */
async function call(path, init = {}) {
  const headers = { ...init.headers }
  if (keyField.value) headers.authorization = `Bearer ${keyField.value}`
  const response = await fetch(path, { ...init, headers })
  if (response.ok) return response
  const { error } = await response.json().catch(() => ({}))
  throw new Error(error?.message ?? `the server answered ${response.status}`)
}

async function loadModels() {
  const { data } = await (await call('v1/models')).json()
  models.clear()
  for (const model of data) models.set(model.id, model)
  modelField.replaceChildren(...data.map(({ id }) => new Option(id, id)))
  showModel()
}

const chats = () => models.get(modelField.value)?.chat ?? false

function showModel() {
  find('system-label').hidden = !chats()
  say(chats() ? '' : 'This model has no chat template: prompts are continued, each for itself.')
}

function say(text, failed = false) {
  status.textContent = text
  status.classList.toggle('failed', failed)
}

/** What the settings say; what is left empty is the server's choice. */
function sampling() {
  const fields = [...settings.querySelectorAll('input')].filter(({ value }) => value !== '')
  const stops = find('stops').value.split('\n').filter(Boolean)
  return {
    ...Object.fromEntries(fields.map(({ name, value }) => [name, Number(value)])),
    ...(stops.length > 0 ? { stop: stops } : {}),
  }
}

/** Shows a message, whose text may be anything: it is never read as HTML. */
function show(role, text) {
  const [article, title, body, note] = ['article', 'h3', 'p', 'small'].map((tag) =>
    document.createElement(tag),
  )
  article.className = role
  title.textContent = role === 'user' ? 'You' : modelField.value
  body.textContent = text
  article.append(title, body, note)
  log.append(article)
  article.scrollIntoView({ block: 'end' })
  return { article, body, note }
}

async function answer(prompt) {
  const chat = chats()
  const system = find('system').value
  const asked = [...conversation, { role: 'user', content: prompt }]
  const body = {
    model: modelField.value,
    ...sampling(),
    ...(chat ? { messages: system ? [{ role: 'system', content: system }, ...asked] : asked } : { prompt }),
    stream: true,
    stream_options: { include_usage: true },
  }
  show('user', prompt)
  const shown = show('assistant', '')
  const controller = new AbortController()
  setRunning(controller)
  const start = performance.now()
  let [text, first, usage, ending] = ['', undefined, undefined, '']
  try {
    const response = await call(chat ? 'v1/chat/completions' : 'v1/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: controller.signal,
    })
    for await (const event of readEvents(response.body)) {
      usage = event.usage ?? usage
      const [choice] = event.choices
      const piece = chat ? choice?.delta.content : choice?.text
      if (choice?.finish_reason === 'length') ending = ', cut off at its length'
      if (!piece) continue
      first ??= performance.now()
      text += piece
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60
      shown.body.append(piece)
      if (atEnd) log.scrollTop = log.scrollHeight
    }
    say('')
  } catch (error) {
    ending = ', stopped'
    if (controller.signal.aborted) say('Stopped.')
    else say(error.message, true)
  }
  setRunning(undefined)
  shown.note.textContent = timesOf(start, first, usage?.completion_tokens) + ending
  if (text === '' && usage === undefined) {
    // Nothing came: the prompt can be sent again.
    shown.article.remove()
    log.lastElementChild?.remove()
    promptField.value ||= prompt
  } else if (chat) conversation = [...asked, { role: 'assistant', content: text }]
}

function timesOf(start, first, tokens) {
  if (first === undefined) return 'no text'
  const wait = `first text after ${Math.round(first - start)} ms`
  if (tokens === undefined) return wait
  const seconds = (performance.now() - first) / 1000
  const rate = tokens > 1 && seconds > 0 ? `, ${((tokens - 1) / seconds).toFixed(1)} tokens/s` : ''
  return `${wait}, ${tokens} ${tokens === 1 ? 'token' : 'tokens'}${rate}`
}

function setRunning(controller) {
  running = controller
  send.disabled = running !== undefined
  stop.disabled = running === undefined
  find('clear').disabled = running !== undefined
  // So that a screen reader speaks whole answers.
  log.setAttribute('aria-busy', String(running !== undefined))
}

const chart = (unit, atLeast, ...series) =>
  new Chart(find('charts'), { unit, atLeast, series: series.map(([name, key]) => ({ name, key })) })
const charts = [
  chart(' tok/s', 10, ['Throughput', 'throughput']),
  chart(' ms', 10, ['First token', 'firstToken'], ['Per token', 'interToken']),
  chart('', 4, ['Running', 'running'], ['Waiting', 'waiting']),
  chart(' %', 10, ['KV cache', 'cache']),
]

async function poll(before) {
  let sample = before
  if (!document.hidden)
    try {
      const text = await (await call('metrics')).text()
      sample = readSample(text, performance.now())
      if (models.size === 0) await loadModels()
      if (before) for (const chart of charts) chart.add(pointBetween(before, sample))
      watch.textContent = ''
    } catch (error) {
      watch.textContent = error.message
    }
  setTimeout(poll, pollMilliseconds, sample)
}

keyField.value = sessionStorage.getItem(storedKey) ?? ''
keyField.addEventListener('change', () => {
  sessionStorage.setItem(storedKey, keyField.value)
  loadModels().catch((error) => say(error.message, true))
})
modelField.addEventListener('change', showModel)
stop.addEventListener('click', () => running?.abort())
find('clear').addEventListener('click', () => {
  conversation = []
  log.replaceChildren()
  say('')
})
settings.addEventListener('submit', (event) => event.preventDefault())
ask.addEventListener('submit', (event) => {
  event.preventDefault()
  if (running || !settings.reportValidity()) return
  const prompt = promptField.value
  promptField.value = ''
  void answer(prompt)
})
promptField.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
  event.preventDefault()
  ask.requestSubmit()
})

loadModels().catch((error) => say(error.message, true))
void poll()
