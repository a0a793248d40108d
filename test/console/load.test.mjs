// What a page bears.
import { checkQuiet, equal, keys, truth } from './world.mjs'
import { ended, last, prints, run } from './steps.mjs'

// 50,000 lines are shown without as many elements; their end is in sight, and the first lines are there after scrolling.
export async function manyLines({ open }) {
  const page = await open()
  await page.locator('.cm-content').waitFor()
  await page.evaluate(() => {
    window.longest = 0
    new PerformanceObserver((list) => { for (const e of list.getEntries()) window.longest = Math.max(window.longest, e.duration) }).observe({ type: 'longtask' })
  })
  await run(page, 'for n in range(50_000): print("line", n, "of a long output")')
  await page.locator('.run-head .state', { hasText: /^ok$/ }).waitFor()
  await page.locator('.long-line', { hasText: 'line 49999 of' }).waitFor()
  equal(await page.locator('.long').getAttribute('aria-label'), 'stdout, 50,000 lines', 'the lines')
  truth(await page.locator('.long-line').count() < 100, 'too many elements')
  await page.locator('.long').evaluate((e) => { e.scrollTop = 0 })
  await page.locator('.long-line', { hasText: 'line 0 of' }).waitFor()
  const [longest, heap] = await page.evaluate(() => [window.longest, performance.memory?.usedJSHeapSize ?? 0])
  console.log(`50,000 lines: longest task ${Math.round(longest)} ms, heap ${Math.round(heap / 2 ** 20)} MiB`)
}

// A million jobs in the list: what is in sight are a few rows, scrolling goes on for as long as somebody scrolls, and a time leads to any of them at once.
// The answers are made here. What such lists cost Kaa is measured by the tests of the store.
export async function millionJobs({ world, open }) {
  const all = 1_000_000, newest = Date.UTC(2026, 0, 1)
  const page = await open(keys.all, '#/batches')
  let asked = 0
  await page.route(/\/v1\/jobs\?/, async (route) => {
    const q = new URL(route.request().url()).searchParams
    asked++
    const before = q.get('createdBefore') ? Math.max(0, Math.ceil((newest - Date.parse(q.get('createdBefore'))) / 1000)) : 0 // one came each second
    const from = q.get('cursor') ? Number(q.get('cursor')) : before
    const jobs = Array.from({ length: Math.min(100, all - from) }, (_, i) => {
      const n = all - from - i
      return { id: `01a00000-0000-7000-8000-${String(n).padStart(12, '0')}`, state: 'completed', status: 'ok', queue: 'default', attempt: 1, maxAttempts: 1, createdAt: new Date(newest - (from + i) * 1000).toISOString(), timeout: 60, resultTtl: 60, metadata: { n } }
    })
    await route.fulfill({ json: { jobs, ...(from + 100 < all ? { nextCursor: String(from + 100) } : {}) } })
  })
  await page.getByRole('link', { name: 'Jobs' }).click()
  const row = (n) => page.locator('.jobs tbody tr', { hasText: `{"n":${n}}` })
  await row(all).waitFor()
  const frame = page.locator('.jobs-frame')
  for (let seen = 0; seen < 3000;) {
    await frame.evaluate((e) => { e.scrollTop = e.scrollHeight })
    await page.waitForFunction((n) => Number(document.querySelector('.jobs').parentElement.nextElementSibling.textContent.replace(/\D+/g, '')) > n, seen)
    seen = Number((await page.getByText(/jobs so far; scroll for more/).innerText()).replace(/\D+/g, ''))
  }
  truth(await page.locator('.jobs tbody tr').count() < 100, 'too many rows are elements')
  await page.getByLabel('Came before').fill('2025-12-25T00:00')
  const first = page.locator('.jobs tbody tr:not(.spare)').first()
  const offset = await page.evaluate(() => Date.parse('2025-12-25T00:00'))
  await row(all - Math.ceil((newest - offset) / 1000)).waitFor()
  truth((await first.innerText()).includes('"n"'), 'the first row')
  const before = asked
  await page.getByLabel('Came before').fill('2025-12-22T00:00')
  const at = await page.evaluate(() => Date.parse('2025-12-22T00:00'))
  await row(all - Math.ceil((newest - at) / 1000)).waitFor()
  truth(asked - before < 20, `${asked - before} requests lead to another time`)
  checkQuiet(page, world)
}

// A value with a million entries is a tree that opens in parts, whether it comes while the program runs or is fetched from the result.
export async function millionEntries({ world, open }) {
  const page = await open()
  for (const [list, entry] of [['[7] * 1_000_000', '1099: 7'], ['list(range(1_000_000))', '1099: 1099']]) {
    await run(page, `class J:\n    def _repr_json_(self): return ${list}\nJ()`)
    await ended(page, 'ok')
    const tree = last(page).locator('.json'), button = last(page).getByRole('button', { name: 'Get the value' })
    await tree.or(button).first().waitFor()
    if (list.startsWith('list')) await button.click()
    await tree.locator('summary', { hasText: 'list of 1000000' }).waitFor()
    await tree.getByRole('button', { name: 'Show more of 1000000' }).click()
    await tree.locator('.json-leaf', { hasText: entry }).waitFor()
    truth(await page.locator('.json-leaf').count() < 3000, 'too many elements')
  }
  await run(page, 'print("the page", "answers")')
  await prints(page, 'the page answers')
  checkQuiet(page, world)
}
