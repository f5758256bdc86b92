// Checks the known answers of sources with the providers' own libraries: `make oracles`.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { parse } from 'yaml';
import { LinearWebhookClient } from '@linear/sdk/webhooks';
import { verify as verifyGitHub } from '@octokit/webhooks-methods';
import { Environment, Paddle } from '@paddle/paddle-node-sdk';
import { isValidSignature } from '@sanity/webhook';
import { WebhookEventVerifier } from '@onfido/api';
import { verifyKey } from 'discord-interactions';
import OpenAI from 'openai';
import { verifyWebhookSignature } from '@notionhq/client';
import { ApiVersion, shopifyApi } from '@shopify/shopify-api';
import '@shopify/shopify-api/adapters/node';
import { WorkOS } from '@workos-inc/node';

// The libraries compare timestamps with the time of the request.
let now = 0;
globalThis.Date = class extends Date {
  constructor(...given) { super(...(given.length > 0 ? given : [now])); }
  static now() { return now; }
};

const require = createRequire(import.meta.url);
const { Webhook: Svix } = require('svix');
const { Webhook: Standard } = require('standardwebhooks');
const Stripe = require('stripe');
const gocardless = require('gocardless-nodejs/webhooks');
const razorpay = require('razorpay/dist/utils/razorpay-utils');
const { EventWebhook } = require('@sendgrid/eventwebhook');
const { WebhooksManager } = require('box-node-sdk/managers/webhooks');

const svix = ['svix', ({ secret, headers, body }) => { new Svix(secret).verify(body, headers); return true; }];
const standard = ['standardwebhooks', ({ secret, headers, body }) => { new Standard(secret).verify(body, headers); return true; }];

// Whether the library accepts a request: its secret, headers and body.
const libraries = {
  box: ['box-node-sdk', ({ secret, headers, body }) => WebhooksManager.validateMessage(body, headers, secret, { secondaryKey: secret })],
  discord: ['discord-interactions', ({ secret, headers, body }) => verifyKey(body, headers['x-signature-ed25519'], headers['x-signature-timestamp'], secret)],
  github: ['@octokit/webhooks-methods', ({ secret, headers, body }) => verifyGitHub(secret, body, headers['x-hub-signature-256'])],
  gocardless: ['gocardless-nodejs', ({ secret, headers, body }) => { gocardless.verifySignature(body, secret, headers['webhook-signature']); return true; }],
  linear: ['@linear/sdk', ({ secret, headers, body }) => new LinearWebhookClient(secret).verify(Buffer.from(body), headers['linear-signature'], JSON.parse(body).webhookTimestamp)],
  notion: ['@notionhq/client', ({ secret, headers, body }) => verifyWebhookSignature({ body, signature: headers['x-notion-signature'], verificationToken: secret })],
  onfido: ['@onfido/api', ({ secret, headers, body }) => { new WebhookEventVerifier(secret).readPayload(body, headers['x-sha2-signature']); return true; }],
  openai: ['openai', async ({ secret, headers, body }) => { await new OpenAI({ apiKey: 'none', webhookSecret: secret }).webhooks.verifySignature(body, headers); return true; }],
  paddle: ['@paddle/paddle-node-sdk', ({ secret, headers, body }) => new Paddle('none', { environment: Environment.sandbox }).webhooks.isSignatureValid(body, secret, headers['paddle-signature'])],
  razorpay: ['razorpay', ({ secret, headers, body }) => razorpay.validateWebhookSignature(body, headers['x-razorpay-signature'], secret)],
  sanity: ['@sanity/webhook', ({ secret, headers, body }) => isValidSignature(body, headers['sanity-webhook-signature'], secret)],
  sendgrid: ['@sendgrid/eventwebhook', ({ secret, headers, body }) => {
    const webhook = new EventWebhook();
    return webhook.verifySignature(webhook.convertPublicKeyToECDSA(secret), body, headers['x-twilio-email-event-webhook-signature'], headers['x-twilio-email-event-webhook-timestamp']);
  }],
  shopify: ['@shopify/shopify-api', async ({ secret, headers, body }) => {
    const shop = { 'x-shopify-topic': 'orders/create', 'x-shopify-api-version': '2026-10', 'x-shopify-shop-domain': 'a.myshopify.com', 'x-shopify-webhook-id': '1' };
    const [apiVersion] = Object.values(ApiVersion);
    const app = shopifyApi({ apiKey: 'none', apiSecretKey: secret, hostName: 'a.example', apiVersion, isEmbeddedApp: false, logger: { level: 0 } });
    const rawRequest = { headers: { ...shop, ...headers }, method: 'POST', url: '/' };
    return (await app.webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} })).valid;
  }],
  'standard-webhooks': standard,
  stripe: ['stripe', ({ secret, headers, body }) => { new Stripe('none').webhooks.constructEvent(body, headers['stripe-signature'], secret); return true; }],
  svix,
  workos: ['@workos-inc/node', async ({ secret, headers, body }) => { await new WorkOS('none').webhooks.verifyHeader({ payload: body, sigHeader: headers['workos-signature'], secret }); return true; }],
};

const folder = process.argv[2];
let failed = false;
for (const [source, [name, accepts]] of Object.entries(libraries)) {
  const { version } = JSON.parse(fs.readFileSync(path.join('node_modules', name, 'package.json')));
  const { known } = parse(fs.readFileSync(path.join(folder, `${source}.yaml`), 'utf8'));
  for (const [index, request] of known.entries()) {
    now = request.at * 1000;
    const tried = async (body) => {
      try { return Boolean(await accepts({ ...request, body })); } catch (error) { return `refused: ${error.message}`; }
    };
    const accepted = await tried(request.body);
    const forged = await tried(request.body.replace(/[a-z]/, (letter) => (letter === 'x' ? 'y' : 'x')));
    const right = accepted === true && forged !== true;
    failed ||= !right;
    console.log(`${right ? 'right' : 'WRONG'} ${source} ${index} ${name} ${version}: ${accepted}, forged: ${forged}`);
  }
}
process.exit(failed ? 1 : 0);
