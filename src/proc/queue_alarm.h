/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/queue_alarm.h: the queue role watches what an administrator would (policy/alarm.h) and writes to
 * postmaster when an alarm begins and when it is over, in Korean and English. Which alarms are on is kept
 * in spool/alarms.
 */
#pragma once
#include "queue/queue.h"

struct json_writer;
struct queue_alarm;
struct role;

struct queue_alarm *queue_alarm_new(struct role *r);
/* The spool's directory, where it is remembered; other directories whose space is watched. */
void queue_alarm_open(struct queue_alarm *a, int spool_fd, const int *dirs, size_t n);
/* On a timer: looks whether it is time, and then looks around. */
void queue_alarm_tick(struct queue_alarm *a, struct queue *q);
/* The master's word. */
void queue_alarm_certificates(struct queue_alarm *a, int pem_fd); /* taken; -1: there is none */
void queue_alarm_restarts(struct queue_alarm *a, unsigned in_last_hour);
/* "alarms": [{"alarm": "disk", "since": 1795566378}] */
void queue_alarm_status(struct queue_alarm *a, struct json_writer *w);
