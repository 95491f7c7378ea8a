import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { StepRunner } from '../../../../serve/engine/step-runner.ts'
import { BrowserPage, findBrowser } from '../../../support/browser.ts'
import {
  nanoEnd,
  nanoTokenizer,
  type Service,
  type ServiceOptions,
  startService,
} from '../../../support/http-service.ts'
import { ScriptedRunner } from '../../../support/scripted-runner.ts'

const said = 'A fox <img src=x onerror="window.harmed = true"><b>is</b> & stays 🦊 here.'
const ids = [...nanoTokenizer.encode(said)]

/** Says the same to everyone, a token each few milliseconds; with a seed of 7, for ever. */
function slowRunner(): StepRunner {
  const scripted = new ScriptedRunner(nanoTokenizer.vocabSize, ({ sampling }) =>
    sampling.seed === 7 ? ids : [...ids, nanoEnd],
  )
  return {
    bounds: scripted.bounds,
    submit: async (step) => {
      await new Promise((resolve) => setTimeout(resolve, 15))
      return scripted.submit(step)
    },
    close: () => scripted.close(),
  }
}

const browser = findBrowser()
if (browser === undefined)
  console.log('skipped: the playground in a browser, because there is no Chromium (set CHROME_PATH)')
const inBrowser = browser === undefined ? test.skip : test

async function withPage(
  options: Pick<ServiceOptions, 'apiKeys' | 'chatTemplate'>,
  use: (page: BrowserPage, service: Service) => Promise<void>,
): Promise<void> {
  const service = await startService({ openRunner: slowRunner, ...options })
  const page = await BrowserPage.open(browser!)
  try {
    await page.send('Page.navigate', { url: service.url })
    await page.until(`document.readyState === 'complete' && document.querySelector('figure')`)
    await use(page, service)
  } finally {
    await page.close()
    await service.close()
  }
}

const answerText = `document.querySelector('#log article:last-child.assistant p')?.textContent`
const chartLabels = `[...document.querySelectorAll('svg')].map((svg) => svg.getAttribute('aria-label'))`

async function ask(page: BrowserPage, prompt: string): Promise<void> {
  await page.evaluate(`document.getElementById('prompt').focus()`)
  await page.type(prompt)
  await page.pressEnter()
}

inBrowser('an answer streams in as text, whatever it is, and the charts move', () =>
  withPage({}, async (page) => {
    await page.until(`document.getElementById('model').value === 'nano'`)
    const idle = await page.evaluate<string[]>(chartLabels)
    await page.evaluate(`
      window.lengths = new Set()
      new MutationObserver(() => lengths.add((${answerText} ?? '').length))
        .observe(document.getElementById('log'), { childList: true, subtree: true })`)
    await ask(page, 'Say <i>something</i>')
    await page.until(`${answerText} === ${JSON.stringify(said)} && document.getElementById('stop').disabled`)
    assert.ok((await page.evaluate<number>('lengths.size')) > 5)
    assert.is(await page.evaluate(`document.querySelectorAll('#log :is(img, b, i)').length`), 0)
    assert.is(await page.evaluate('window.harmed'), undefined)
    assert.is(
      await page.evaluate(`document.querySelector('#log article.user p').textContent`),
      'Say <i>something</i>',
    )
    await page.until(`${chartLabels}.every((label) => !label.startsWith('Throughput –'))`)
    await page.until(`/First token \\d/.test(${chartLabels}[1]) && /Per token \\d/.test(${chartLabels}[1])`)
    await page.until(`document.querySelectorAll('svg polyline').length >= 5`)
    assert.is.not((await page.evaluate<string[]>(chartLabels))[0], idle[0])
    const note = `document.querySelector('#log article.assistant small').textContent`
    assert.match(await page.evaluate<string>(note), /\d tokens, [\d.]+ tokens\/s$/)
    assert.equal(page.complaints, [])
  }),
)

inBrowser('settings are sent, and stopping takes the request away', () =>
  withPage({}, async (page, { engine }) => {
    await page.until(`document.getElementById('model').value === 'nano'`)
    await page.evaluate(`document.querySelector('[name=seed]').value = 7`)
    await page.evaluate(`document.querySelector('[name=max_tokens]').value = 900`)
    await ask(page, 'Go on')
    await page.until(`${answerText}?.length > ${said.length + 20}`)
    await page.until(`${chartLabels}[2].startsWith('Running 1')`)
    await page.until(`!${chartLabels}[3].startsWith('KV cache 0 %')`)
    assert.is(engine.stats.running, 1)
    await page.evaluate(`document.getElementById('stop').click()`)
    await page.until(`document.getElementById('status').textContent === 'Stopped.'`)
    for (let i = 0; i < 200 && engine.stats.running > 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 10))
    assert.is(engine.stats.running, 0)
    assert.is(engine.stats.heldPages, 0)
    assert.equal(page.complaints, [])
  }),
)

inBrowser('calls need the key, which is kept for the session', () =>
  withPage({ apiKeys: ['secret'] }, async (page, { url }) => {
    await page.until(`document.getElementById('status').textContent.includes('API key')`)
    await page.evaluate(`document.getElementById('key').focus()`)
    await page.type('secret')
    await page.pressEnter()
    await page.until(`document.getElementById('model').value === 'nano'`)
    await ask(page, 'Hello')
    await page.until(`${answerText} === ${JSON.stringify(said)}`)
    await page.send('Page.navigate', { url: `${url}/?again` })
    await page.until(`location.search === '?again' && document.getElementById('model')?.value === 'nano'`)
    assert.is(await page.evaluate(`localStorage.length + document.cookie.length`), 0)
  }),
)

inBrowser('a model without a chat template continues the prompt', () =>
  withPage({ chatTemplate: null }, async (page, { log }) => {
    await page.until(`document.getElementById('status').textContent.includes('no chat template')`)
    assert.is(await page.evaluate(`document.getElementById('system-label').hidden`), true)
    await ask(page, 'Once')
    await page.until(`${answerText} === ${JSON.stringify(said)} && document.getElementById('stop').disabled`)
    assert.ok(log.some(({ path, status }) => path === '/v1/completions' && status === 200))
    assert.equal(page.complaints, [])
  }),
)

inBrowser('it fits a phone, follows the theme, and names its fields', () =>
  withPage({}, async (page) => {
    const device = { width: 360, height: 740, deviceScaleFactor: 2, mobile: true }
    await page.send('Emulation.setDeviceMetricsOverride', device)
    await page.until('innerWidth === 360')
    assert.is(await page.evaluate('document.documentElement.scrollWidth'), 360)
    const grounds: string[] = []
    for (const value of ['light', 'dark']) {
      await page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] })
      grounds.push(await page.evaluate<string>('getComputedStyle(document.body).backgroundColor'))
    }
    assert.equal(grounds, ['rgb(252, 252, 251)', 'rgb(22, 22, 21)'])
    const unnamed = `[...document.querySelectorAll('input, select, textarea')].filter((x) => x.labels.length === 0).length`
    assert.is(await page.evaluate(unnamed), 0)
    assert.equal(page.complaints, [])
  }),
)

test.run()
