// The frame of the console: signing in, themes, what is offered, and what other clients get.
import { checkAccess, checkQuiet, equal, keys, screenshot, truth } from './world.mjs'

// A key that is wrong is refused in words and is not kept; one that is right lets in, and is in no address.
export async function signIn({ world, open }) {
  const page = await open('')
  const form = page.getByRole('dialog', { name: 'Sign in' })
  await form.waitFor()
  await checkAccess(page, 'sign-in')
  await screenshot(page, 'sign-in')
  await form.getByRole('button', { name: 'Sign in' }).click()
  await form.getByText('Enter a key.').waitFor()
  await form.getByLabel('API key').fill('wrong-key-0123456789')
  await page.keyboard.press('Enter')
  await form.locator('.wrong', { hasText: 'API key' }).waitFor()
  equal(await page.evaluate(() => sessionStorage.getItem('kaa.key')), null, 'the refused key is kept')
  await form.getByLabel('API key').fill(keys.all)
  await page.keyboard.press('Enter')
  await page.getByRole('link', { name: 'Playground' }).waitFor()
  await form.waitFor({ state: 'detached' })
  truth(!page.requests.some((u) => u.includes(keys.all)), 'the key is in an address')
  equal(await page.evaluate(() => [localStorage.length, document.cookie]), [0, ''], 'what is kept besides the tab')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await form.waitFor()
  equal(await page.evaluate(() => sessionStorage.getItem('kaa.key')), null, 'the key after signing out')
  checkQuiet(page, world)
}

// A key without the scopes of a page is told so.
export async function scopes({ open }) {
  const page = await open(keys.reader, '#/playground')
  await page.getByText('Your key does not allow this page').waitFor()
  equal(await page.getByRole('link', { name: 'Playground' }).count(), 0, 'offered pages')
}

// The theme is that of the system until it is changed, and stays changed.
export async function themes({ open }) {
  const page = await open(keys.all)
  const theme = (name) => page.waitForFunction((name) => document.documentElement.dataset.theme === name, name)
  await theme('dark')
  await page.getByRole('button', { name: 'Light colours' }).click()
  await theme('light')
  await page.reload()
  await page.getByRole('button', { name: 'Dark colours' }).waitFor()
  await theme('light')
}

// Programs get JSON at the root; the first page is small.
export async function weight({ world, open }) {
  const root = await (await fetch(world.url)).json()
  equal(root.name, 'Kaa', 'the description')
  const page = await open(keys.all)
  await page.getByRole('link', { name: 'Playground' }).waitFor()
  const sent = await page.evaluate(() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].reduce((sum, e) => sum + e.transferSize, 0))
  truth(sent > 0 && sent < 300_000, `the first page took ${sent} bytes`)
  console.log(`first page: ${sent} bytes`)
  checkQuiet(page, world)
}
