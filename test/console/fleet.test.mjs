// Jobs, batches and the fleet.
import { checkAccess, checkQuiet, equal, keys, screenshot, truth } from './world.mjs'

async function ended(world, id, key = keys.all) {
  for (;;) {
    const j = await world.api('GET', `/v1/jobs/${id}?wait=30s`, undefined, key)
    if (['completed', 'failed', 'cancelled'].includes(j.state)) return j
  }
}

// The list finds jobs by what is known of them, a job's page says in words what became of it, and hostile content stays text.
export async function jobs({ world, open }) {
  const hostile = '<img src=x onerror="window.reached=1"><script>window.reached=1</script>'
  const good = await world.api('POST', '/v1/jobs', { code: 'print("fine")', metadata: { user: 'ada' } })
  const bad = await world.api('POST', '/v1/jobs', { code: `print(${JSON.stringify(hostile)})\nraise ValueError(${JSON.stringify(hostile)})`, metadata: { user: 'bob', note: hostile } })
  await world.api('POST', '/v1/jobs', { code: 'print("hers")', metadata: { user: 'ada' } }, keys.other)
  await ended(world, good.id)
  await ended(world, bad.id)
  const page = await open(keys.all, '#/jobs')
  const row = (id) => page.locator('.jobs tbody tr').filter({ has: page.locator(`a[title="${id}"]`) })
  await row(good.id).waitFor()
  await row(bad.id).waitFor()
  await checkAccess(page, 'the list of jobs')
  await screenshot(page, 'jobs')
  await page.getByLabel('Code ended').selectOption({ label: 'not ok' })
  await row(good.id).waitFor({ state: 'detached' })
  await row(bad.id).waitFor()
  await page.getByLabel('Code ended').selectOption({ label: 'any' })
  await page.getByLabel('Text in metadata').fill('ADA')
  await row(bad.id).waitFor({ state: 'detached' })
  await row(good.id).waitFor()
  equal(await page.locator('.jobs tbody tr').count(), 1, 'jobs of the tenant with this text')
  await page.goto(world.url + '#/jobs/' + bad.id)
  await page.getByText('Its code ended with').waitFor()
  for (const title of ['Timeline', 'Output', 'Code', 'Details']) await page.getByRole('heading', { name: title, exact: true }).waitFor()
  await page.locator('.job-output .text.stdout').getByText(hostile).waitFor()
  await page.locator('pre.code').getByText('raise ValueError').waitFor()
  equal(await page.locator('.timeline b').allInnerTexts(), ['Accepted', 'Queued', 'Claimed', 'Ended'], 'the timeline')
  await checkAccess(page, 'the page of a job')
  await screenshot(page, 'job')
  truth(!(await page.evaluate(() => 'reached' in window)), 'the output of a job has run in the page')
  await page.getByRole('button', { name: 'Run again' }).click()
  await page.getByText('Runs again', { exact: true }).waitFor()
  truth(!page.url().includes(bad.id), 'it runs again under its own id')
  checkQuiet(page, world)
}

// A job is submitted from the page; what cannot be one is refused in words and stays typed.
export async function submit({ world, open }) {
  const page = await open(keys.all, '#/jobs')
  const dialog = page.getByRole('dialog', { name: 'New job' })
  await page.getByRole('button', { name: 'New job' }).click()
  await dialog.getByRole('button', { name: 'Submit' }).click()
  await dialog.getByText('Enter a program.').waitFor()
  await dialog.getByLabel('Program in Python').fill('print("sent:", input())')
  await dialog.getByLabel('Metadata').fill('{user: 1}')
  await dialog.getByRole('button', { name: 'Submit' }).click()
  await dialog.getByText('Metadata is not JSON').waitFor()
  await checkAccess(page, 'a new job')
  await screenshot(page, 'new-job')
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'New job' }).click()
  await dialog.getByLabel('Metadata').fill('{"user": "grace-submits"}')
  await dialog.getByLabel('Standard input').fill('from the page')
  await dialog.getByLabel('Queue').selectOption('low')
  await dialog.getByRole('button', { name: 'Submit' }).click()
  await page.locator('.job-output .text.stdout').getByText('sent: from the page').waitFor()
  await page.locator('.head .state').getByText('completed').waitFor()
  await page.locator('.facts', { hasText: 'grace-submits' }).getByRole('link', { name: 'low' }).waitFor()
  checkQuiet(page, world)
}

// What happens is seen without reloading: a job appears, its output comes, it is cancelled.
export async function live({ world, open }) {
  const page = await open(keys.all, '#/jobs')
  await page.getByRole('heading', { name: 'Jobs' }).waitFor()
  const { id } = await world.api('POST', '/v1/jobs', { code: 'import time\nprint("begun", flush=True)\ntime.sleep(3000)', timeout: 3000, events: true })
  await page.locator(`a[title="${id}"]`).click()
  await page.locator('.job-output .text.stdout').getByText('begun').waitFor()
  await page.getByRole('button', { name: `Cancel job ${id}` }).click()
  await page.locator('.head .state').getByText('cancelled').waitFor()
  await page.getByRole('button', { name: 'Delete', exact: true }).click()
  await page.getByRole('button', { name: 'Delete it for good' }).click()
  await page.getByRole('heading', { name: 'Jobs' }).waitFor()
  await page.goto(world.url + '#/jobs/' + id)
  await page.getByText('No job has this id').waitFor()
  checkQuiet(page, world)
}

// A batch shows its progress, and what failed comes first.
export async function batches({ world, open }) {
  const lines = [{ batch: { name: 'nightly run' } }, { code: 'print(1)' }, { code: '1/0' }, { code: 'print(2)' }].map((l) => JSON.stringify(l)).join('\n')
  const res = await fetch(world.url + 'v1/batches', { method: 'POST', headers: { Authorization: `Bearer ${keys.all}`, 'Content-Type': 'application/x-ndjson' }, body: lines })
  const { id } = await res.json()
  const page = await open(keys.all, '#/batches')
  await page.getByRole('link', { name: 'nightly run' }).first().waitFor()
  await checkAccess(page, 'the list of batches')
  await page.goto(world.url + '#/batches/' + id)
  await page.getByText('ZeroDivisionError').waitFor()
  equal(await page.getByRole('region', { name: 'Results of the batch' }).locator('tbody tr').count(), 1, 'failures')
  await page.locator('.head .state').getByText('completed').waitFor()
  await checkAccess(page, 'the page of a batch')
  await screenshot(page, 'batch')
  checkQuiet(page, world)
}

// The operator sees queues, runners, sessions and the last hour, and acts on them; a tenant's key is offered its own part.
export async function fleet({ world, open }) {
  const session = await world.api('POST', '/v1/sessions', { metadata: { chat: 7 } })
  const page = await open(keys.admin, '#/fleet')
  await page.getByRole('img', { name: /^Jobs a second/ }).waitFor()
  await checkAccess(page, 'the last hour')
  await screenshot(page, 'fleet')
  await page.getByRole('tab', { name: 'Queues' }).click()
  await page.getByRole('button', { name: 'Pause the queue low' }).click()
  await page.getByRole('button', { name: 'Resume the queue low' }).click()
  await page.getByRole('button', { name: 'Pause the queue low' }).waitFor()
  await checkAccess(page, 'queues')
  await page.getByRole('tab', { name: 'Runners' }).click()
  await page.getByText('Parked workers').waitFor()
  await checkAccess(page, 'runners')
  await screenshot(page, 'runners')
  await page.getByRole('tab', { name: 'Sessions' }).click()
  const row = page.getByRole('row').filter({ has: page.locator(`[title="${session.id}"]`) })
  await row.getByText('acme').waitFor()
  await checkAccess(page, 'sessions')
  await row.getByRole('button', { name: /^End session/ }).click()
  await row.getByRole('button', { name: 'End it with its variables' }).click()
  await row.waitFor({ state: 'detached' })
  checkQuiet(page, world)
  const tenant = await open(keys.reader, '#/fleet')
  await tenant.getByRole('tab', { name: 'Queues' }).waitFor()
  await tenant.getByRole('tab', { name: 'Runners' }).waitFor({ state: 'detached' })
  equal(await tenant.getByRole('button', { name: /^Pause/ }).count(), 0, 'actions of an operator')
}

// A runner is drained after a question, and takes jobs again.
export async function drain({ world }) {
  await world.other({}, async (w) => {
    const page = await w.open(keys.admin, '#/fleet/runners')
    await w.api('POST', '/v1/sessions', {})
    await page.getByRole('button', { name: /^Drain the runner/ }).click()
    await page.getByRole('button', { name: 'Leave it' }).click()
    await page.getByRole('button', { name: /^Drain the runner/ }).click()
    await page.getByRole('button', { name: /^Drain it/ }).click()
    await page.getByText('drained', { exact: true }).waitFor()
    const { id } = await w.api('POST', '/v1/jobs', { code: 'print("after", 6 * 7)' })
    await page.getByRole('button', { name: /^Resume the runner/ }).click()
    await page.getByText('takes jobs', { exact: true }).waitFor()
    equal((await ended(w, id)).state, 'completed', 'the job')
    await page.goto(`${w.url}#/fleet/sessions`)
    await page.getByRole('heading', { name: 'No session lives' }).waitFor()
    checkQuiet(page, w)
    await page.context().close()
  })
}
