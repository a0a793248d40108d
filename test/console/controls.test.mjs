// What a person does with a run, a session and the list of jobs, beside running programs.
import { createServer } from 'node:http'
import { checkAccess, checkQuiet, during, equal, keys, truth } from './world.mjs'
import { ended, last, prints, run, session } from './steps.mjs'

// A run of a session is interrupted, and the session keeps its variables. Restart takes them.
export async function interruptAndRestart({ world, open }) {
  const page = await open()
  await run(page, 'kept = 6 * 7\nprint("begins", flush=True)\nwhile True: pass')
  await prints(page, 'begins')
  await page.getByRole('button', { name: 'Interrupt' }).click()
  await ended(page, 'interrupted')
  await run(page, 'print("kept is", kept)')
  await prints(page, 'kept is 42')
  await ended(page, 'ok')
  await during(page, 'The session has a fresh interpreter', () => page.getByRole('button', { name: 'Restart the session: a fresh interpreter' }).click())
  await run(page, 'print("kept" in globals())')
  await prints(page, 'False')
  checkQuiet(page, world)
}

// Settings of a session hold from its beginning on; the page says so and opens another one. Charts can be SVG.
export async function settings({ world, open }) {
  const page = await open()
  await run(page, 'import os\nprint("WHO" in os.environ)')
  await prints(page, 'False')
  await ended(page, 'ok')
  const first = await session(page)
  await page.getByRole('tab', { name: 'Settings' }).click()
  await page.getByLabel('Environment variables').fill('WHO=Ada')
  await page.getByLabel('Memory in MiB').fill('none')
  await page.getByText('Enter a number above 0, or nothing.').waitFor()
  await page.getByLabel('Memory in MiB').fill('700')
  await page.getByLabel('Timeout in seconds').fill('600')
  await page.getByLabel('Charts as SVG').check()
  await page.getByRole('button', { name: 'End it, so that the next run opens a new one' }).click()
  await page.getByText('no session yet').waitFor()
  await page.getByRole('tab', { name: 'Output' }).click()
  await run(page, 'import os\nprint(os.environ["WHO"])\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()')
  await ended(page, 'ok')
  await prints(page, 'Ada')
  await last(page).getByRole('button', { name: 'SVG', exact: true }).waitFor()
  const picture = last(page).locator('.picture img')
  await picture.waitFor()
  await page.waitForFunction((i) => i.complete && i.naturalWidth > 100, await picture.elementHandle())
  truth(await session(page) !== first, 'the session is the old one')
  checkQuiet(page, world)
}

// The list finds jobs by state, queue, owner and time, and an address has the filters.
export async function filters({ world, open }) {
  const made = {}
  for (const [name, body, key] of [['low', { queue: 'low' }, keys.all], ['late', { delay: 3000 }, keys.all], ['hers', {}, keys.other], ['mine', {}, keys.all]]) {
    made[name] = (await world.api('POST', '/v1/jobs', { code: 'print(1)', metadata: { filters: name }, ...body }, key)).id
  }
  for (const name of ['low', 'hers', 'mine']) await world.api('GET', `/v1/jobs/${made[name]}?wait=60s`, undefined, keys.admin)
  const page = await open(keys.admin, '#/jobs')
  const row = (name) => page.locator(`.jobs a[title="${made[name]}"]`)
  // only waits until just these are listed.
  const only = async (label, ...names) => {
    for (const name of names) await row(name).waitFor()
    for (const name of Object.keys(made)) if (!names.includes(name)) await row(name).waitFor({ state: 'detached' })
    truth(page.url().includes('#/jobs'), label)
  }
  await only('all', 'low', 'late', 'hers', 'mine')
  await page.getByLabel('Queue').selectOption('low')
  await only('queue', 'low')
  await page.getByLabel('Queue').selectOption({ label: 'any' })
  await page.getByLabel('State').selectOption('scheduled')
  await only('state', 'late')
  await page.getByLabel('State').selectOption({ label: 'any' })
  await page.getByLabel('Tenant or key').fill('globex')
  await page.keyboard.press('Enter')
  await only('owner', 'hers')
  await page.getByLabel('Tenant or key').fill('key:wrong')
  await page.keyboard.press('Enter')
  await page.getByText('must be a tenant, or key: and 16 hexadecimal digits').waitFor()
  await page.getByLabel('Tenant or key').fill('acme')
  await page.keyboard.press('Enter')
  await only('another owner', 'low', 'late', 'mine')
  await page.getByLabel('Came', { exact: true }).selectOption({ label: 'in the last hour' })
  await only('owner and time', 'low', 'late', 'mine')
  await page.reload()
  await only('after a reload', 'low', 'late', 'mine')
  await page.getByLabel('Came before').fill('2020-01-01T00:00')
  await page.getByText('No job fits').waitFor()
  await page.getByRole('button', { name: 'Show all jobs' }).click()
  await only('all again', 'low', 'late', 'hers', 'mine')
  await world.api('DELETE', `/v1/jobs/${made.late}`)
  checkQuiet(page, world)
}

// A job's page has the attempts of its webhook, and what a job waits for. A key that may only read is offered nothing else.
export async function jobPage({ world }) {
  await world.other({ KAA_WEBHOOK_ALLOW_PRIVATE: 'true' }, async (w) => {
    let calls = 0
    const hook = createServer((req, res) => { calls++; res.statusCode = calls === 1 ? 500 : 200; res.end() }).listen(0, '127.0.0.1')
    await new Promise((done) => hook.once('listening', done))
    const job = await w.api('POST', '/v1/jobs', { code: 'open("left.txt", "w").write("x")', webhook: { url: `http://127.0.0.1:${hook.address().port}/done` } })
    await w.api('GET', `/v1/jobs/${job.id}?wait=60s`)
    const page = await w.open(keys.reader, `#/jobs/${job.id}`)
    await page.getByText(`http://127.0.0.1:${hook.address().port}/done`).waitFor()
    while (calls < 2) await new Promise((done) => setTimeout(done, 50)) // the second one comes after a while
    while ((await w.api('GET', `/v1/jobs/${job.id}`)).webhook.state !== 'delivered') await new Promise((done) => setTimeout(done, 50))
    await page.reload()
    await page.locator('.facts', { hasText: 'after 2 attempts' }).waitFor()
    await page.getByRole('cell', { name: 'left.txt' }).waitFor()
    for (const name of ['Run again', 'Delete', /^Download/]) equal(await page.getByRole('button', { name }).count(), 0, `offers of ${name} to a key that may read`)
    await page.goto(`${w.url}#/jobs`)
    await page.locator(`.jobs a[title="${job.id}"]`).waitFor()
    for (const name of ['New job', 'Cancel many…', 'Delete many…']) equal(await page.getByRole('button', { name }).count(), 0, `offers of ${name} to a key that may read`)
    await w.api('POST', '/v1/queues/low/pause', {}, keys.admin)
    const paused = await w.api('POST', '/v1/jobs', { code: '1', queue: 'low' })
    await page.goto(`${w.url}#/jobs/${paused.id}`)
    await page.getByText('An operator has paused its queue.').waitFor()
    checkQuiet(page, w)
    await page.context().close()
    hook.close()
    hook.closeAllConnections()
  })
}

// A job's page has the attempts that runners could not finish. The answer is one that a Kaa gives which has lost a runner.
export async function earlierAttempts({ world, open }) {
  const job = await world.api('POST', '/v1/jobs', { code: '1', delay: 86400, maxAttempts: 5 })
  const page = await open(keys.all, `#/jobs/${job.id}`)
  await page.getByText(job.id).first().waitFor()
  equal(await page.getByRole('heading', { name: 'Earlier attempts' }).count(), 0, 'the table of a job without earlier attempts')
  await page.route(`**/v1/jobs/${job.id}`, async (route) => {
    const response = await route.fetch()
    const earlierAttempts = [
      { attempt: 1, startedAt: '2026-01-02T03:04:05Z', endedAt: '2026-01-02T03:04:07.5Z', runner: 'runner-1', reason: 'runner_lost' },
      { attempt: 2, startedAt: '2026-01-02T03:05:00Z', endedAt: '2026-01-02T03:06:00Z', runner: '<b>runner-2</b>', reason: 'drained' },
    ]
    await route.fulfill({ response, json: { ...await response.json(), attempt: 3, earlierAttempts } })
  })
  const table = page.getByRole('table', { name: 'Attempts before the last one' })
  const cells = async (n) => (await table.getByRole('row').nth(n).getByRole('cell').allInnerTexts()).map((c) => c.trim())
  await table.waitFor()
  equal(await table.getByRole('row').count(), 3, 'rows with the head')
  const [first, second] = [await cells(1), await cells(2)]
  equal([first[0], ...first.slice(3)], ['1', 'runner_lost', 'runner-1'], 'the first attempt')
  truth(/^2\.50? s$/.test(first[2]), `it ran for ${first[2]}`)
  equal([second[0], ...second.slice(3)], ['2', 'drained', '<b>runner-2</b>'], 'the second attempt')
  await page.getByText('Attempt 3 of 5 at most.').waitFor()
  await checkAccess(page, 'a job with earlier attempts')
  await world.api('DELETE', `/v1/jobs/${job.id}`)
  checkQuiet(page, world)
}

// A Kaa without a console has none of it.
export async function switchedOff({ world }) {
  await world.other({ KAA_CONSOLE: 'false' }, async (w) => {
    const res = await fetch(w.url, { headers: { Accept: 'text/html' }, redirect: 'manual' })
    truth(!(await res.text()).includes('console/'), 'the page is there')
    equal((await fetch(w.url + 'console/frame.html')).status, 404, 'a file of the console')
    truth(!('console' in (await (await fetch(w.url)).json()).links), 'the description has a link to it')
  })
}
