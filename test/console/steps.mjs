// What tests of the playground do.
export async function set(page, code) {
  const editor = page.locator('.cm-content') // it is in a shadow root, which locators see through
  await editor.waitFor()
  await editor.click()
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.press('Backspace')
  await page.keyboard.insertText(code)
}

export async function run(page, code) {
  await set(page, code)
  await page.keyboard.press('ControlOrMeta+Enter')
}

export const last = (page) => page.getByRole('article').last()
export const ended = (page, state) => last(page).locator('.run-head .state', { hasText: new RegExp(`^${state}$`) }).waitFor()
export const prints = (page, text) => last(page).locator('.text', { hasText: text }).waitFor()
