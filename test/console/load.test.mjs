// What a page bears.
import { equal, truth } from './world.mjs'
import { run } from './steps.mjs'

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
